"""MergeAxes: axes that always stand together are one axis; memory alone tells them apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from snipjit.ir.dequantized import dequantized
from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.parts import Parts
from snipjit.ir.subgraph import Dim, Node, Subgraph, TensorType
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class MergeAxes(Pass):
    """Make one axis of neighbours in a factor that no product, reduction or result takes apart.

    Such are the pixels of an image as keys: what depends on their row or column alone is read by
    index, and a kernel streams along one axis, whatever the sizes. Of rows, which not all factors
    have, each tensor must have all parts: as one axis they fill the lanes. They are one dim, so
    that none must be copied; of products without reductions also several: what a linear layer
    reads is rarely copied, since its batch and rows follow each other. Axes that products sum over
    are merged where scales of a weight are of groups of them, whose sizes are compiled in. Without
    products those are merged that reductions go over, as over the pixels of a group of channels, if
    a call tells their sizes: a kernel has one loop over all of them.

    Before:  axis n0 ; axis n1
             %k = parameter : f32[b][n0 n1][d]
             %h = parameter : f32[b][m][n0]
             %s = brgemm %q %k {over=(d)} : f32[b][m][n0][n1]
             %t = add %s %h : f32[b][m][n0][n1]
             %x = reduce %t {monoid=max, over=(n0, n1)} : f32[b][m]
    After:   axis n
             %k = parameter {parts=(((b), (n.0, n.1), (d)), ((n, (n.0, n.1))))} : f32[b][n][d]
             %h = parameter {parts=(((b), (m), (n.0)), ((n, (n.0, n.1))))} : f32[b][m][n]
             %s = brgemm %q %k {over=(d)} : f32[b][m][n]
             %t = add %s %h : f32[b][m][n]
             %x = reduce %t {monoid=max, over=(n)} : f32[b][m]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with fewer axes."""
        while (run := next(_mergeable(subgraph), None)) is not None:
            subgraph = _merged(subgraph, run)
        return subgraph


# Which axes.


def _mergeable(subgraph: Subgraph) -> Iterator[Dim]:
    """The neighbours that may become one axis, the longest ones first."""
    axes = {node.type.axes for node in _factors(subgraph) or subgraph.parameters}
    runs = {
        own[start:stop]
        for own in axes
        for start in range(len(own))
        for stop in range(start + 2, len(own) + 1)
    }
    order = sorted(runs, key=lambda run: (-len(run), run))
    return (run for run in order if _is_mergeable(subgraph, run))


def _factors(subgraph: Subgraph) -> list[Node]:
    """The parameters that products multiply, also after functions of one operand."""
    products = subgraph.of("brgemm")
    found = [_source(subgraph, subgraph[name]) for node in products for name in node.inputs]
    return [node for node in found if node.op == "parameter"]


def _source(subgraph: Subgraph, node: Node) -> Node:
    """What a value is computed from by functions that have but one operand with axes."""
    operands = [subgraph[name] for name in node.inputs if subgraph[name].type.axes]
    alone = node.op in ELEMENTWISE and len(operands) == 1
    return _source(subgraph, operands[0]) if alone else node


def _is_mergeable(subgraph: Subgraph, run: Dim) -> bool:
    anchors = subgraph.of("brgemm", "reduce", "result")
    keys = _is_carried(subgraph, run) or _are_groups(subgraph, run)
    if not keys and not _are_reduced(subgraph, run) and not _are_rows(subgraph, run):
        return False
    whole = all(
        _stands_whole(axes, run)
        for node in anchors
        for axes in (node.type.axes, node.attrs.get("over", ()))
    )
    both = subgraph.of("brgemm") and subgraph.of("reduce")
    beside = _has_in_one_dim if both else _has_beside
    results = all(beside(node, run) for node in subgraph.results)
    tensors = all(_fits(node, run, keys) for node in subgraph.parameters)
    counted = any(node.attrs["axis"] in run for node in subgraph.of("iota"))
    gathered = {n for node in subgraph.of("gather") for n in node.inputs}
    by_index = any({*run} & {*subgraph[name].type.axes} for name in gathered)
    return whole and results and tensors and not counted and not by_index


def _is_carried(subgraph: Subgraph, run: Dim) -> bool:
    """Whether products make all the axes, and products or reductions remove them."""
    made = {axis for node in subgraph.of("brgemm") for axis in node.type.axes}
    return {*run} <= made & subgraph.reduced_axes()


def _are_groups(subgraph: Subgraph, run: Dim) -> bool:
    """Whether products sum over all the axes, which are groups in a factor made of integers."""
    summed = [node for node in subgraph.of("brgemm") if {*run} & {*node.attrs["over"]}]
    known = all(subgraph.axes[axis] is not None for axis in run)
    return (
        known
        and bool(summed)
        and all(
            {*run} <= {*node.attrs["over"]}
            and any(dequantized(subgraph, name) is not None for name in node.inputs)
            for node in summed
        )
    )


def _are_reduced(subgraph: Subgraph, run: Dim) -> bool:
    """Whether there are no products, and reductions go over all the axes, of unknown sizes."""
    unknown = all(subgraph.axes[axis] is None for axis in run)
    return unknown and not subgraph.of("brgemm") and {*run} <= subgraph.reduced_axes()


def _are_rows(subgraph: Subgraph, run: Dim) -> bool:
    """Whether the axes are kept to the end, the last of them in rows, and factors lack them."""
    factors, kept = _factors(subgraph), subgraph.kept_axes()
    lacking = [{*run}.isdisjoint(node.type.axes) for node in factors]
    if not {*run} <= {*kept} or not any(lacking):
        return False
    if subgraph.of("reduce"):
        return [run[-1]] == subgraph.row_axes() and all(_has_in_one_dim(n, run) for n in factors)
    return all(_has_beside(node, run) for node in factors)


def _stands_whole(axes: Dim, run: Dim) -> bool:
    return not {*axes} & {*run} or {*run} <= {*axes}


def _has_in_one_dim(node: Node, run: Dim) -> bool:
    """Whether one dim has the axes as neighbours, or none has any."""
    return {*run}.isdisjoint(node.type.axes) or any(_at(dim, run) >= 0 for dim in node.type.dims)


def _has_beside(node: Node, run: Dim) -> bool:
    """Whether the axes are neighbours, in memory too, in one dim or several, or there are none."""
    dims, listed = node.type.dims, node.type.axes
    order = node.attrs.get("order", range(len(dims)))
    memory = tuple(axis for number in order for axis in dims[number])
    return {*run}.isdisjoint(listed) or all(_at(axes, run) >= 0 for axes in (listed, memory))


def _fits(node: Node, run: Dim, keys: bool) -> bool:
    """Whether a tensor has neighbours of the axes in their order; all of them, if not by index."""
    own = tuple(axis for axis in node.type.axes if axis in run)
    if not own or (not keys and own != run):
        return not own
    parts = Parts.of(node.attrs)
    plain = "block" not in node.attrs and not (parts and {*parts.products} & {*run})
    return plain and _at(run, own) >= 0 and _at(node.type.axes, own) >= 0


def _at(axes: Dim, run: Dim) -> int:
    """Where neighbours stand among axes; -1 if they do not."""
    places = range(len(axes) - len(run) + 1)
    return next((i for i in places if axes[i : i + len(run)] == run), -1)


# One axis of them.


def _merged(subgraph: Subgraph, run: Dim) -> Subgraph:
    """The Subgraph with one axis in the place of some."""
    others = {*subgraph.axes} - {*run}
    name = run[-1].rstrip("0123456789")
    name = run[-1] if name in others else name
    sizes = [subgraph.axes[axis] for axis in run]
    known = [size for size in sizes if size is not None]
    axes: dict[str, int | None] = {}
    for axis, size in subgraph.axes.items():
        if axis == run[-1]:
            axes[name] = prod(known) if len(known) == len(sizes) else None
        elif axis not in run:
            axes[axis] = size
    groups = tuple(known) if _are_groups(subgraph, run) else ()
    one = _Merge(run, name, tuple(axes), groups)
    return replace(subgraph, axes=axes, nodes=tuple(map(one.node, subgraph.nodes)))


@dataclass(frozen=True)
class _Merge:
    """One axis ``name`` in the place of a run of axes, whose sizes are known if they are groups;
    ``axes`` are all in their order."""

    run: Dim
    name: str
    axes: Dim
    sizes: tuple[int, ...] = ()

    def node(self, node: Node) -> Node:
        """A node with the axis in its type and attributes."""
        attrs = dict(node.attrs)
        if "over" in attrs:
            attrs["over"] = self._axes(attrs["over"])
        if node.op in ("parameter", "result"):
            dims = self._dims(node.type.dims)
            if self._is_told_apart(node):
                attrs["parts"] = self._parts(node).attr
        else:
            dims = tuple((axis,) for axis in self._axes(node.type.axes))
        return replace(node, type=TensorType(node.type.dtype, dims), attrs=attrs)

    def _is_told_apart(self, node: Node) -> bool:
        """Whether a call knows the axes of a tensor by their parts."""
        if node.op == "parameter":
            return not {*self.run}.isdisjoint(node.type.axes)
        return not _has_in_one_dim(node, self.run)

    def _axes(self, axes: Dim) -> Dim:
        found = {self.name if axis in self.run else axis for axis in axes}
        return tuple(axis for axis in self.axes if axis in found)

    def _dims(self, dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """The dims of a tensor, with the axis in the place of the last of the run."""
        present = [axis for dim in dims for axis in dim if axis in self.run]
        return tuple(
            tuple(
                self.name if axis in self.run else axis
                for axis in dim
                if axis not in self.run or axis == present[-1]
            )
            for dim in dims
        )

    def _parts(self, node: Node) -> Parts:
        before = Parts.of(node.attrs) or Parts(node.type.dims, ())
        names = {axis: f"{self.name}.{number}" for number, axis in enumerate(self.run)}
        told = tuple(tuple(names.get(axis, axis) for axis in dim) for dim in before.dims)
        known = tuple(zip(names.values(), self.sizes, strict=False))
        whole = (*before.whole, (self.name, tuple(names.values())))
        return Parts(told, whole, (*before.known, *known))
