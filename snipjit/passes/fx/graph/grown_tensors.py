"""Grown tensors: inputs that a graph returns with more behind them, as models keep their caches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import fx

from snipjit.passes.fx.graph.part_views import VIEWED
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.traced import is_tensor, tensor


class Grown(NamedTuple):
    """A node that joins tensors, the first of which is an input, along a dim."""

    node: fx.Node
    tensors: tuple[fx.Node, ...]
    dim: int


def grown_tensors(graph: fx.Graph) -> Iterator[Grown]:
    """The joins of an input and more that leave the graph, themselves or in views.

    Before:  %k = placeholder; …; %keys = cat([%k, %new], -2); %o = sdpa(%q, %keys, …)
             return %o, %keys
    Found:   %keys, (%k, %new), -2
    """
    for node in graph.nodes:
        call = lookup(node)
        if call is None or call.op != "cat" or not is_tensor(node):
            continue
        tensors, dim = call.get("tensors"), call.get("dim", 0)
        if isinstance(dim, int) and _grows_input(tensors, node) and _leaves(node):
            yield Grown(node, tuple(tensors), dim)


def _grows_input(tensors: Any, joined: fx.Node) -> bool:
    """Whether the first of several tensors of one rank is an input."""
    if not isinstance(tensors, list | tuple) or len(tensors) < 2:
        return False
    if not all(isinstance(of, fx.Node) and is_tensor(of) for of in tensors):
        return False
    ranks = {tensor(of).dim() for of in tensors}
    return tensors[0].op == "placeholder" and ranks == {tensor(joined).dim()}


def _leaves(node: fx.Node) -> bool:
    """Whether a value or a view of it is returned."""
    for user in node.users:
        call = lookup(user)
        if user.op == "output":
            return True
        if call is not None and call.op in VIEWED and user.args[:1] == (node,) and _leaves(user):
            return True
    return False
