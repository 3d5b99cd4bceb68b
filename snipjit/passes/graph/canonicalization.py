"""Canonicalization: dimensions that must be equal get the same axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest

from snipjit.errors import UnsupportedError
from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.subgraph import Dim, Node, Subgraph, TensorType
from snipjit.passes.base import Pass
from snipjit.passes.graph.axis_unification import AxisUnification

Group = list[Dim]


@dataclass(frozen=True)
class Canonicalization(Pass):
    """Unify the axes of dims that an operation aligns; from then on equal dims have equal names.

    A dim of traced size 1 (``ones``) that meets a longer dim takes that dim's axes if it is a batch
    dim: the broadcast is then a run-time stride of 0. Against an axis that products or reductions
    work on, or against the last axis of a result, it becomes ``[]``: such broadcasts are compiled,
    and so are those where one of the sizes is static (a stack of weights).
    So it does as the last factor of such a dim (``q1``, a batch of 1 in the dim of the rows), where
    vectors and tiles lie. The attribute has then done its work and goes.

    Before:  %q = parameter {ones=(1)} : f32[q0][q1][q2]
             %k = parameter : f32[k0][k1]
             %bias = parameter {ones=(0)} : f32[c0][c1]
             %v = view %q : f32[q0 q1][q2]
             %s = matmul %v %k : f32[q0 q1][k1]
             %y = add %s %bias : f32[q0 q1][k1]
    After:   %q = parameter : f32[q0][][k0]
             %k = parameter : f32[k0][k1]
             %bias = parameter : f32[][k1]
             %v = view %q : f32[q0][k0]
             %s = matmul %v %k : f32[q0][k1]
             %y = add %s %bias : f32[q0][k1]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with shared axes. UnsupportedError if a value needs one axis twice."""
        solver = _Solver(subgraph)
        solver.unify_equal_dims()
        solver.unify_broadcasts()
        solver.drop_last_ones()
        solver.check_yielded()
        nodes = [solver.resolved(node) for node in subgraph.nodes]
        for node in nodes:
            _check_distinct(node)
        used = dict.fromkeys(axis for node in nodes for axis in node.type.axes)
        return Subgraph(subgraph.name, {a: solver.axes.size(a) for a in used}, tuple(nodes))


def _check_distinct(node: Node) -> None:
    axes = node.type.axes
    twice = next((axis for axis in axes if axes.count(axis) > 1), None)
    if twice is not None:
        raise UnsupportedError(
            f"%{node.name} ({node.op}) has axis {twice} in two dims, as when one tensor is used as "
            "rows and as columns; give each use a parameter of its own"
        )


class _Solver:
    """The equalities of one Subgraph, and the broadcasts that wait until roles are known."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.subgraph = subgraph
        self.axes = AxisUnification(subgraph.axes)
        self.broadcasts: list[Group] = []
        self.yielding: Group = []
        ones = {
            axis
            for node in subgraph.parameters
            for index in node.attrs.get("ones", ())
            for axis in node.type.dims[index]
        }
        self.firm: Group = [(axis,) for axis in subgraph.axes if axis not in ones]
        self.vectorised = _vectorised(subgraph)

    def unify_equal_dims(self) -> None:
        """Unify dims that no broadcast can make different, and note the broadcasts."""
        types = {node.name: node.type for node in self.subgraph.nodes}
        for node in self.subgraph.nodes:
            dims = [types[name].dims for name in node.inputs]
            if node.op == "matmul":
                self._matmul(node, *dims)
            elif node.op in ELEMENTWISE or node.op == "expand":
                self._broadcast(node.type.dims, *dims)
            elif node.op == "view":
                self.axes.unify(node.type.axes, types[node.inputs[0]].axes)
            elif node.op == "softmax":
                self._softmax(node, *dims)
            else:
                for left, right in zip(*_moved_dims(node, dims), strict=True):
                    self.axes.unify(left, right)

    def _matmul(self, node: Node, lhs: tuple[Dim, ...], rhs: tuple[Dim, ...]) -> None:
        out = node.type.dims
        self.axes.unify(lhs[-1], rhs[-2])
        self.axes.unify(out[-2], lhs[-2])
        self.axes.unify(out[-1], rhs[-1])
        self._broadcast(out[:-2], lhs[:-2], rhs[:-2])

    def _softmax(self, node: Node, operand: tuple[Dim, ...], *column: tuple[Dim, ...]) -> None:
        out, index = node.type.dims, node.attrs["dim"]
        for left, right in zip(out, operand, strict=True):
            self.axes.unify(left, right)
        for dims in column:
            if len(dims) >= -index:
                self.axes.unify(dims[index], ())
            self._broadcast(_without(out, index), _without(dims, index))

    def _broadcast(self, *shapes: tuple[Dim, ...]) -> None:
        for group in zip_longest(*(reversed(shape) for shape in shapes), fillvalue=()):
            self.broadcasts.append([dim for dim in group if dim])

    def unify_broadcasts(self) -> None:
        """Unify aligned dims; dims of traced size 1 yield to the others as the pass describes."""
        strong = [*self.vectorised, *self.firm]
        pending = self.broadcasts
        while pending:
            # First, since what a dim of size 1 yields to depends on all that its axis is.
            while any([self._join_longer(group, strong) for group in pending]):
                pass
            waiting = [group for group in pending if not self._settle(group, strong)]
            if len(waiting) == len(pending):
                self._unify_all(waiting)
                return
            pending = waiting

    def _split(self, group: Group, strong: Group) -> tuple[Group, Group]:
        """The dims of a broadcast, and those of them that are known to be longer than 1.

        Every unification may rename axes: sets of axes hold for one question only.
        """
        dims = [dim for dim in map(self.axes.resolve, group) if dim]
        known = self._axes_of(strong)
        return dims, [dim for dim in dims if known.intersection(dim)]

    def _join_longer(self, group: Group, strong: Group) -> bool:
        """Unify the longer dims of a broadcast; whether they were not the same already."""
        _, longer = self._split(group, strong)
        if len(set(longer)) < 2:
            return False
        self._unify_all([longer])
        return True

    def _settle(self, group: Group, strong: Group) -> bool:
        """Settle a broadcast if one of its dims is known to be longer than 1."""
        dims, longer = self._split(group, strong)
        if dims and not longer:
            return False
        self._unify_all([longer])
        for dim in dims:
            if dim not in longer:
                target = self.axes.resolve(longer[0])
                compiled = self._axes_of(self.vectorised).intersection(target)
                own = self.axes.resolve(dim)
                yields = not (compiled or self._is_static((*own, *target)))
                self.axes.unify(dim, target if yields else ())
                self.yielding += [target] if yields else []
        strong += longer
        return True

    def _is_static(self, dim: Dim) -> bool:
        return any(self.axes.size(axis) is not None for axis in self.axes.resolve(dim))

    def check_yielded(self) -> None:
        """Raise UnsupportedError for a dim of size 1 whose axis was found to be static later."""
        if any(map(self._is_static, self.yielding)):
            raise UnsupportedError(
                "a dim of size 1 meets one whose size only other operations tell: expand it"
            )

    def drop_last_ones(self) -> None:
        """Make the last factors of vectorised dims ``[]`` that have size 1, if others do not."""
        for dim in self.vectorised:
            while not self._is_one(dim) and self._is_one(last := self.axes.resolve(dim)[-1:]):
                self.axes.unify(last, ())

    def _is_one(self, dim: Dim) -> bool:
        """Whether all axes of a dim have traced size 1; that of a product tells no factor's."""
        firm: Group = [axes for axes in map(self.axes.resolve, self.firm) if len(axes) == 1]
        return self._axes_of(firm).isdisjoint(self.axes.resolve(dim))

    def _axes_of(self, dims: Group) -> set[str]:
        return {axis for dim in dims for axis in self.axes.resolve(dim)}

    def _unify_all(self, groups: list[Group]) -> None:
        for group in groups:
            for dim in group[1:]:
                self.axes.unify(group[0], dim)

    def resolved(self, node: Node) -> Node:
        """A node with the axes of its type, and of an index, in their final form."""
        dims = tuple(self.axes.resolve(dim) for dim in node.type.dims)
        attrs = {key: value for key, value in node.attrs.items() if key != "ones"}
        if "axis" in attrs:
            axes = self.axes.resolve((attrs["axis"],))
            if len(axes) != 1:
                raise UnsupportedError(
                    f"the index %{node.name} runs along a dim of {len(axes)} axes; one is accepted"
                )
            attrs["axis"] = axes[0]
        return replace(node, type=TensorType(node.type.dtype, dims), attrs=attrs)


def _moved_dims(node: Node, dims: list[tuple[Dim, ...]]) -> tuple[list[Dim], list[Dim]]:
    """The dims of a node, and for each the operand's dim it is."""
    out = list(node.type.dims)
    if not dims:
        return [], []
    source = list(dims[0])
    if node.op == "transpose":
        source = [source[index] for index in node.attrs["order"]]
    elif node.op == "gather":
        at = source.index((node.attrs["axis"],))
        source[at : at + 1] = dims[1]
    elif node.op == "unsqueeze":
        del out[node.attrs["dim"]]
    elif node.op == "reduce_dims":
        reduced = {index % len(source) for index in node.attrs["dims"]}
        source = [dim for index, dim in enumerate(source) if index not in reduced]
        if node.attrs["keepdim"]:
            out = [dim for index, dim in enumerate(out) if index not in reduced]
    return out, source


def _without(dims: tuple[Dim, ...], index: int) -> tuple[Dim, ...]:
    """Dims with size 1 in place of the one at a negative index."""
    return tuple(() if i - len(dims) == index else dim for i, dim in enumerate(dims))


def _vectorised(subgraph: Subgraph) -> list[Dim]:
    """The dims that products and reductions work on, and the last axis of each result."""
    nodes, dims = subgraph.by_name, []
    for node in subgraph.nodes:
        operands = [nodes[name].type.dims for name in node.inputs]
        if node.op == "matmul":
            dims += [*operands[0][-2:], *operands[1][-2:]]
        elif node.op == "softmax":
            dims.append(node.type.dims[node.attrs["dim"]])
        elif node.op == "reduce_dims":
            dims += [operands[0][index] for index in node.attrs["dims"]]
        elif node.op == "result" and node.type.dims:
            dims.append(node.type.dims[-1][-1:])
    return dims
