"""Tensors that hold one number (``zeros_like``, ``full`` …): the number stands for them.

The number is the one that the tensor's type holds: ``full(…, 0.7, dtype=int32)`` is 0.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import torch
from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.nodes.calls import Call, lookup
from snipjit.passes.fx.nodes.traced import is_one, is_tensor, same, tensor, value
from snipjit.torch_private import real_tensors

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
    return held(filled_with(call), tensor(node).dtype)


def filled_with(call: Call) -> Any:
    """What a fill was called with."""
    return call.get("fill_value") if call.op == "full" else int(call.op == "ones")


def held(number: Any, dtype: torch.dtype) -> Any:
    """What a tensor of a type holds of a number; None where that is unknown, or no number.

    A number that only the call knows is itself where float32, which scalars are, holds it too.
    """
    if isinstance(number, fx.Node):
        found = value(number)
        whole = isinstance(found, int | torch.SymInt) and not isinstance(found, bool)
        exact = whole and dtype in (torch.float32, torch.int32, torch.int64)
        real = isinstance(found, float | torch.SymFloat) and dtype == torch.float32
        return number if exact or real else None
    if not isinstance(number, int | float):
        return None
    try:
        with real_tensors():
            return torch.full((), number, dtype=dtype, device="cpu").item()
    except RuntimeError:  # eager refuses the number too
        return None


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
