"""SDPA as core ATen spells it: rows of weights that see nothing are replaced by zeros."""

from __future__ import annotations

import math
from typing import Any

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.index.fills import fill_value
from snipjit.passes.fx.nodes.calls import Call, lookup


def softmax_with_zeros(flow: ValueFlow, node: fx.Node, call: Call) -> fx.Node | None:
    """The softmax of which ``node`` replaces the rows that see nothing; None if it does not.

    Before:  %p = softmax(%s, -1); %e = eq(%s, -inf); %n = not(%e); %a = any(%n, -1, True)
             %h = not(%a); %z = full_like(%p, 0); %r = where(%h, %z, %p)
    After:   %r = softmax(%s, -1) {hidden=zero}
    """
    if call.op != "where" or _filled(flow, node, call.get("input")) != 0:
        return None
    weights = _read(flow, node, call.get("other"))
    softmax = lookup(weights) if weights is not None else None
    if weights is None or softmax is None or softmax.op != "softmax":
        return None
    scores = _read(flow, weights, softmax.get("input"))
    found = _through(flow, node, call.get("condition"), "not", "any")
    some = lookup(found) if found is not None else None
    if found is None or some is None or not some.get("keepdim", False):
        return None
    visible = _through(flow, found, some.get("input"), "not", "eq")
    equal = lookup(visible) if visible is not None else None
    if visible is None or equal is None or _filled(flow, visible, equal.get("other")) != -math.inf:
        return None
    same = _read(flow, visible, equal.get("input")) is scores
    return weights if same and some.get("dim") == softmax.get("dim") else None


def _read(flow: ValueFlow, reader: fx.Node, argument: Any) -> fx.Node | None:
    return flow.read(reader, argument) if isinstance(argument, fx.Node) else None


def _filled(flow: ValueFlow, reader: fx.Node, argument: Any) -> Any:
    """The number that an argument is or holds throughout, or None."""
    source = _read(flow, reader, argument)
    return argument if source is None else fill_value(flow, reader, source)


def _through(
    flow: ValueFlow, reader: fx.Node, argument: Any, outer: str, inner: str
) -> fx.Node | None:
    """The operation ``inner`` of which ``outer`` is what a reader sees, or None."""
    source = _read(flow, reader, argument)
    call = lookup(source) if source is not None else None
    if source is None or call is None or call.op != outer:
        return None
    below = _read(flow, source, call.get("input"))
    found = lookup(below) if below is not None else None
    return below if found is not None and found.op == inner else None
