"""Tensors that hold one number (``zeros_like``, ``full`` …): the number stands for them."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from torch import fx

from snipjit.passes.fx.op_table import Call, lookup
from snipjit.passes.fx.traced import is_one, is_tensor, same, tensor
from snipjit.passes.fx.value_flow import ValueFlow

FILLS = ("zeros", "ones", "full")


def fill_value(flow: ValueFlow, reader: fx.Node, node: fx.Node) -> Any:
    """The number that ``node`` holds throughout, or None if there is none for ``reader`` to use.

    The number may stand for the tensor only where the others give the result its shape.
    """
    call = lookup(node)
    if call is None or call.op not in FILLS or not is_tensor(node):
        return None
    others = [other for other in flow.operands(reader) if not _is_fill(other) and is_tensor(other)]
    if not _fits(node, others) or flow.is_mutated(node):
        return None
    number = _number(call)
    return None if is_tensor(number) else number


def _number(call: Call) -> Any:
    return call.get("fill_value") if call.op == "full" else float(call.op == "ones")


def _is_fill(node: fx.Node) -> bool:
    call = lookup(node)
    return call is not None and call.op in FILLS


def _fits(node: fx.Node, others: list[fx.Node]) -> bool:
    """Whether every dim of a tensor is as long as one of the others', or has size 1."""
    shapes = [tensor(of).shape for of in (node, *others)]
    rank = max((len(shape) for shape in shapes[1:]), default=0)
    columns = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    fits = all(is_one(own) or any(same(own, size) for size in rest) for own, *rest in columns)
    return fits and len(shapes[0]) <= rank
