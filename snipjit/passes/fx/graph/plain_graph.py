"""Plain data flow: drops nodes that nothing reads, and tensors read only for their shape."""

from __future__ import annotations

from typing import Any

from torch import fx

from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.traced import Size, is_tensor, same, tensor

_LIKE = {"view_as": "view", "reshape_as": "reshape"}


def make_plain(graph: fx.Graph) -> None:
    """Rewrite a graph in place; what it computes stays the same.

    Before:  %s = matmul(%q, %k); %dead = s.view(2, 8, 7, 9); %b = bias.reshape_as(%s)
    After:   %s = matmul(%q, %k); %b = bias.reshape(%q.size(0), 7, 9)

    A view that nothing reads would be a reader of the scores, and ``reshape_as`` would make the
    bias a part of them.
    """
    for node in reversed(list(graph.nodes)):
        call = lookup(node)
        if call is None or mutated(node) is not None or call.op == "dropout":
            continue  # a dropout draws random numbers even if nothing reads its result
        if not node.users:
            graph.erase_node(node)
    for node in list(graph.nodes):
        if node.op == "call_method" and node.target in _LIKE:
            _name_sizes(graph, node)


def _name_sizes(graph: fx.Graph, node: fx.Node) -> None:
    """``x.reshape_as(y)`` with a product ``y`` as ``x.reshape(sizes of its operands)``."""
    like = node.args[1] if len(node.args) == 2 else None
    sources = _sources(like) if isinstance(like, fx.Node) else None
    if sources is None or not is_tensor(node):
        return
    shape = tensor(node).shape
    with graph.inserting_before(node):
        sizes = [_size(graph, size, *at) for size, at in zip(shape, sources, strict=True)]
    node.target = _LIKE[str(node.target)]
    node.args = (node.args[0], *sizes)


def _size(graph: fx.Graph, size: Size, source: fx.Node, dim: int) -> Any:
    if isinstance(size, int):
        return size
    node = graph.call_method("size", (source, dim))
    node.meta["example_value"] = size
    return node


def _sources(like: fx.Node) -> list[tuple[fx.Node, int]] | None:
    """For each dim of a product, the operand and its dim with the same size; None if unknown."""
    call = lookup(like)
    if call is None or call.op != "matmul" or not is_tensor(like):
        return None
    left, right = call.get("input"), call.get("other")
    if not (is_tensor(left) and is_tensor(right)):
        return None
    rank = tensor(like).dim()
    found = [*[(left, dim) for dim in range(rank - 1)], (right, rank - 1)]
    if any(tensor(side).dim() != rank for side in (left, right)):
        return None
    sizes = zip(found, tensor(like).shape, strict=True)
    return found if all(same(tensor(of).shape[dim], size) for (of, dim), size in sizes) else None
