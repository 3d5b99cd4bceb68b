"""Which part of a tensor a view op gives, and a scatter op replaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx

from snipjit.passes.fx.graph.places import Place
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import is_tensor, same, tensor

Rule = Callable[[fx.Node, Call, Place, fx.Node], Place]


def viewed(node: fx.Node, place: Place) -> Place:
    """The place of a view, where that of its operand is known; refused where it is not clear."""
    return _part(node, place, VIEWED)


def replaced(node: fx.Node, place: Place) -> Place:
    """The place of what a scatter op replaces, where that of its operand is known."""
    return _part(node, place, REPLACED)


def _part(node: fx.Node, place: Place, rules: Mapping[str, Rule]) -> Place:
    call = lookup(node)
    source = call.get("input") if call is not None and call.op in rules else None
    if call is None or not isinstance(source, fx.Node) or not is_tensor(source):
        raise unclear(node)
    return rules[call.op](node, call, place, source)


def unclear(node: fx.Node) -> RefusedError:
    """The reason for a part that is not known."""
    return RefusedError(
        f"`{node.name}` ({spelled(node)}) gives no clear part; accepted: numbers, slices, "
        "diagonals, and dims in another order"
    )


def _select(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    return place.select(_literal(node, call.get("dim")), call.get("index"))


def _slice(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    dim = _literal(node, call.get("dim", 0))
    cut = slice(call.get("start"), call.get("end"), call.get("step"))
    return place.slice(dim, cut, tensor(source).shape[dim])


def _diagonal(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    numbers = (call.get("offset", 0), call.get("dim1", 0), call.get("dim2", 1))
    return place.cut(*(_literal(node, number) for number in numbers))


def _getitem(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    return place.index(call.get("index"), tensor(source).shape)


def _transpose(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    rank = len(place.dims)
    first, second = (_literal(node, call.get(name)) % rank for name in ("dim0", "dim1"))
    order = list(range(rank))
    order[first], order[second] = second, first
    return place.reorder(order)


def _transpose_last(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    rank = len(place.dims)
    return place.reorder([*range(rank - 2), *reversed(range(max(rank - 2, 0), rank))])


def _permute(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    first = call.get("dims")
    dims = [*first, *call.rest] if isinstance(first, list | tuple) else [first, *call.rest]
    return place.reorder([_literal(node, dim) % len(dims) for dim in dims])


def _unsqueeze(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    return place.insert(_literal(node, call.get("dim")) % (len(place.dims) + 1))


def _alike(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    """A view that may change shape or type, and here does not."""
    own, other = tensor(node), tensor(source)
    alike = own.dim() == other.dim() and all(map(same, own.shape, other.shape))
    if not alike or own.dtype != other.dtype:
        raise unclear(node)
    return place


def _getattr(node: fx.Node, call: Call, place: Place, source: fx.Node) -> Place:
    if call.get("name") != "mT":
        raise unclear(node)
    return _transpose_last(node, call, place, source)


def _literal(node: fx.Node, number: Any) -> int:
    if not isinstance(number, int):
        raise unclear(node)
    return number


REPLACED: Mapping[str, Rule] = {
    "select_scatter": _select,
    "slice_scatter": _slice,
    "diagonal_scatter": _diagonal,
}

VIEWED: Mapping[str, Rule] = {
    "select": _select,
    "slice": _slice,
    "diagonal": _diagonal,
    "getitem": _getitem,
    "transpose": _transpose,
    "transpose_last": _transpose_last,
    "permute": _permute,
    "unsqueeze": _unsqueeze,
    "view": _alike,
    "expand": _alike,
    "cast": _alike,
    "getattr": _getattr,
}
