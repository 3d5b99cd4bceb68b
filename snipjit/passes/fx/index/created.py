"""Tensors made of nothing: ranges and fills, in the spellings of torch and of ATen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

from snipjit.passes.fx.index.fills import FILLS, filled_with, held
from snipjit.passes.fx.nodes.calls import Call, lookup
from snipjit.passes.fx.nodes.traced import is_tensor, tensor

RANGES = ("arange", "iota")


@dataclass(frozen=True)
class Creation:
    """A new tensor: one ``value`` everywhere, or the range that begins with it."""

    value: Any
    is_range: bool = False


def creation(node: fx.Node) -> Creation | None:
    """How a node makes a tensor of nothing, None if it does anything else."""
    call = lookup(node)
    if call is None:
        return None
    if call.op in FILLS or call.op == "scalar_tensor":
        number = filled_with(call) if call.op in FILLS else call.get("input")
        known = held(number, tensor(node).dtype) if is_tensor(node) else None
        return None if known is None else Creation(known)
    return _range(node, call) if call.op in RANGES else None


def _range(node: fx.Node, call: Call) -> Creation | None:
    """A range in steps of 1. ``arange`` of one argument has only an end."""
    step = call.get("step", 1)
    if not isinstance(step, int) or step != 1:
        return None
    positional = len(node.args) if call.op == "arange" else 2
    return Creation(call.get("start", 0) if positional != 1 else 0, is_range=True)
