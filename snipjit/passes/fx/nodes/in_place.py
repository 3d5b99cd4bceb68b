"""Which nodes change a tensor in place."""

from __future__ import annotations

import operator as op
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch.nn.functional as F
from torch import fx

from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.op_table import TABLE
from snipjit.torch_private import OpOverload, schema_arguments


def mutated(node: fx.Node) -> fx.Node | None:
    """The tensor that a node changes in place, or None."""
    if node.target is F.embedding:
        return _renormed(node)
    if node.kwargs and isinstance(out := node.kwargs.get("out"), fx.Node):
        return out
    if not _in_place(node):
        return None
    first = node.args[0] if node.args else node.kwargs.get("input", node.kwargs.get("self"))
    return first if isinstance(first, fx.Node) else None


def _renormed(node: fx.Node) -> fx.Node | None:
    """The weight of an embedding that first scales the rows that it reads."""
    call = lookup(node)
    if call is None or call.get("max_norm") is None:
        return None
    weight = call.get("weight")
    return weight if isinstance(weight, fx.Node) else None


_IN_PLACE_OPERATORS = frozenset(
    getattr(op, name)
    for name in (
        "iadd iand iconcat ifloordiv ilshift imatmul imod imul ior ipow irshift isub itruediv ixor "
        "setitem delitem"
    ).split()
)


def _in_place(node: fx.Node) -> bool:
    if node.op == "call_method":
        return _says_in_place(str(node.target))
    if node.op != "call_function":
        return False
    if _writes(cast("Callable[..., Any]", node.target)):
        return True
    if "inplace" not in node.kwargs and not _takes_inplace(node.target):
        return False
    call = lookup(node)
    return call is not None and call.get("inplace") is True


@cache
def _takes_inplace(target: Any) -> bool:
    """Whether a function has an argument ``inplace``, which a call may give by its position."""
    row = TABLE.get(target)
    return row is not None and "inplace" in row.arguments.split()


@cache
def _writes(target: Callable[..., Any]) -> bool:
    """Whether a function works in place whatever it is called with."""
    if isinstance(target, OpOverload):
        arguments = schema_arguments(target)
        return any(argument.alias_info and argument.alias_info.is_write for argument in arguments)
    if target in (op.and_, op.or_, op.not_):
        return False  # the underscore sets them off from keywords
    return target in _IN_PLACE_OPERATORS or _says_in_place(getattr(target, "__name__", ""))


def _says_in_place(name: str) -> bool:
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
