"""ShareColumns: layers of one input that are as wide go over one axis of columns."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from snipjit.ir.subgraph import Dim, Node, Subgraph, TensorType
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class ShareColumns(Pass):
    """Make one axis of the columns of products that share a factor, where nothing else tells them.

    Queries, keys and values of a layer are three products of one input. With an axis of columns
    each they would be three loop nests; with one they are computed side by side, and what the
    products share is read once.

    Before:  axis e0 = 40 ; axis e1 = 40
             %q = brgemm %x %w0 {over=(d)} : f32[m][e0]
             %k = brgemm %x %w1 {over=(d)} : f32[m][e1]
    After:   axis e = 40
             %q = brgemm %x %w0 {over=(d)} : f32[m][e]
             %k = brgemm %x %w1 {over=(d)} : f32[m][e]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with fewer axes."""
        while (pair := _equal(subgraph)) is not None:
            subgraph = _shared(subgraph, *pair)
        return subgraph


def _equal(subgraph: Subgraph) -> tuple[str, str] | None:
    """Two axes of columns that may be one."""
    found: dict[str, str] = {}
    for node in subgraph.of("brgemm"):
        for factor, other in (node.inputs[:2], node.inputs[1::-1]):
            own = {*subgraph[factor].type.axes, *node.attrs["over"]}
            columns = [axis for axis in subgraph[other].type.axes if axis not in own]
            if subgraph[factor].op == "parameter" and len(columns) == 1:
                found.setdefault(columns[0], factor)
    for one, other in itertools.combinations(found, 2):
        if found[one] == found[other] and _are_alike(subgraph, one, other):
            return one, other
    return None


def _are_alike(subgraph: Subgraph, one: str, other: str) -> bool:
    """Whether two axes have one known size, are kept to the end, and meet nowhere."""
    size = subgraph.axes[one]
    if size is None or size != subgraph.axes[other] or {one, other} & subgraph.reduced_axes():
        return False
    indices = subgraph.of("iota", "gather")
    counted = any(node.attrs["axis"] in (one, other) for node in indices)
    parts = any("parts" in node.attrs and _tells(node, one, other) for node in subgraph.nodes)
    return not (counted or parts or any({one, other} <= {*n.type.axes} for n in subgraph.nodes))


def _tells(node: Node, *axes: str) -> bool:
    """Whether memory knows one of the axes by finer ones."""
    return any(axis in axes for axis, _ in node.attrs["parts"][1])


def _shared(subgraph: Subgraph, one: str, other: str) -> Subgraph:
    """The Subgraph with the first axis in the place of the second."""

    def renamed(dim: Dim) -> Dim:
        return tuple(one if axis == other else axis for axis in dim)

    def node_of(node: Node) -> Node:
        attrs = dict(node.attrs)
        if "parts" in attrs:
            dims, whole = attrs["parts"]
            attrs["parts"] = tuple(map(renamed, dims)), whole
        if "block" in attrs:
            attrs["block"] = (*renamed(attrs["block"][:1]), attrs["block"][1])
        dims = tuple(map(renamed, node.type.dims))
        return replace(node, type=TensorType(node.type.dtype, dims), attrs=attrs)

    axes = {axis: size for axis, size in subgraph.axes.items() if axis != other}
    return replace(subgraph, axes=axes, nodes=tuple(map(node_of, subgraph.nodes)))
