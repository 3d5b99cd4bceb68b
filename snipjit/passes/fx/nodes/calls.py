"""Calls: a node as the op table reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import fx

from snipjit.passes.fx.nodes.op_row import Row
from snipjit.passes.fx.nodes.op_table import PAIRWISE, TABLE
from snipjit.passes.fx.nodes.pointwise_rows import REFUSED_BY_NAME
from snipjit.passes.fx.nodes.traced import traced_value
from snipjit.torch_private import ASSERT_METADATA

ALIASES = {
    "self": "input",
    "x1": "input",
    "x2": "other",
    "mat2": "other",
    "vec": "other",
    "tensor": "other",
    "axis": "dim",
    "axis0": "dim0",
    "axis1": "dim1",
    "keepdims": "keepdim",
    "min_val": "min",
    "max_val": "max",
    "ord": "p",
    "train": "training",
}
"""Other names of an argument: NumPy's, ATen's, and those of one function alone."""

WITHOUT_EFFECT = frozenset(
    "inplace memory_format non_blocking copy device layout pin_memory requires_grad "
    "_stacklevel".split()
)
"""Arguments that change no value."""

READ_FROM_TRACE = frozenset(
    "view expand permute repeat cast zeros ones full scalar_tensor empty arange iota cumsum "
    "einsum".split()
)
"""Ops whose further arguments (a shape, an element type) are read from the node's traced value."""


@dataclass(frozen=True)
class Call:
    """A node as the table reads it: the canonical op and its arguments by name."""

    op: str
    arguments: Mapping[str, Any]
    rest: tuple[Any, ...] = ()

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or its default where the call leaves it out."""
        return self.arguments.get(name, default)


_CALLS: WeakKeyDictionary[fx.Node, tuple[Any, Any, Any, Call | None]] = WeakKeyDictionary()
"""Calls of nodes looked up before, each with what it was read from: a graph is read many times."""


def lookup(node: fx.Node) -> Call | None:
    """The canonical op of a node, or None if the table has no row for it."""
    target, args, kwargs = node.target, node.args, node.kwargs
    known = _CALLS.get(node)
    if known is not None and known[1] is args and known[2] is kwargs and known[0] is target:
        return known[3]
    call = _call(node)
    _CALLS[node] = target, args, kwargs, call
    return call


def _call(node: fx.Node) -> Call | None:
    if node.op not in ("call_function", "call_method"):
        return None
    row = _row(node)
    if row is None or "out" in node.kwargs:
        return None
    names = row.arguments.split()
    rest = node.args[len(names) :]
    arguments = dict(zip(names, node.args, strict=False))
    named = {k if k in names else ALIASES.get(k, k): v for k, v in node.kwargs.items()}
    known = not rest and named.keys() <= {*names, *WITHOUT_EFFECT}
    if not known and row.op not in READ_FROM_TRACE:
        return None
    arguments |= named
    if row.op == "sdpa":
        arguments["input"] = arguments.get("query")
    return Call(row.op, arguments, tuple(rest))


def _row(node: fx.Node) -> Row | None:
    row = TABLE.get(node.target)
    if row is None or row.op not in PAIRWISE:
        return row
    second = node.kwargs.get("other", node.args[1] if len(node.args) > 1 else None)
    pairwise = isinstance(second, fx.Node) and isinstance(traced_value(second), torch.Tensor)
    return PAIRWISE[row.op] if pairwise else row


def spelled(node: fx.Node) -> str:
    """How the model wrote an op, for a message; of a function that is refused by name, why."""
    if node.op == "call_method":
        name = f"Tensor.{node.target}"
    elif node.op == "call_function":
        name = str(getattr(node.target, "__name__", node.target))
    else:
        return node.op
    why = REFUSED_BY_NAME.get(node.target)
    return name if why is None else f"{name}, which {why}"


def is_check(node: fx.Node) -> bool:
    """Whether a node only asserts the type of its operand, as exported programs do at casts."""
    return node.target is ASSERT_METADATA and not node.users
