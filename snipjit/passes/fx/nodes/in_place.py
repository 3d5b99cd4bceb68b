"""Which nodes change a tensor in place."""

from __future__ import annotations

import operator as op
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import torch.nn.functional as F
from torch import fx

from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.op_table import TABLE
from snipjit.torch_private import written_arguments


def mutated(node: fx.Node) -> fx.Node | None:
    """The tensor that a node changes in place, the first of several, or None."""
    return next(iter(all_mutated(node)), None)


def all_mutated(node: fx.Node) -> list[fx.Node]:
    """All tensors that a node changes in place: those of a list too, and whatever arguments the
    schema of an operation says it writes to."""
    if node.op not in ("call_function", "call_method"):
        return []
    if node.target is F.embedding:
        found: list[Any] = [_renormed(node)]
    else:
        known = _written_arguments(node.target) if node.op == "call_function" else ()
        found = [node.kwargs.get("out")]
        found += [node.kwargs.get(name, _at(node.args, position)) for position, name in known]
        if not known and _in_place(node):
            found.append(_first(node))
    tensors = (item for given in found for item in (given if _is_list(given) else [given]))
    return list(dict.fromkeys(item for item in tensors if isinstance(item, fx.Node)))


def _first(node: fx.Node) -> Any:
    return node.args[0] if node.args else node.kwargs.get("input", node.kwargs.get("self"))


def _at(arguments: Sequence[Any], position: int) -> Any:
    return arguments[position] if position < len(arguments) else None


def _is_list(given: Any) -> bool:
    return isinstance(given, list | tuple)


@cache
def _written_arguments(target: Callable[..., Any]) -> tuple[tuple[int, str], ...]:
    """In order; of functions that are no operations, none is known."""
    return tuple(sorted(written_arguments(target)))


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
    if target in (op.and_, op.or_, op.not_):
        return False  # the underscore sets them off from keywords
    return target in _IN_PLACE_OPERATORS or _says_in_place(getattr(target, "__name__", ""))


def _says_in_place(name: str) -> bool:
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
