"""The last step of a lift: chosen values become a Subgraph, in the finest axes that they name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

from torch import fx

from snipjit.ir.subgraph import Dim, Node, Subgraph, TensorType
from snipjit.passes.fx.lift.axes import Axes
from snipjit.passes.fx.lift.unknown_sizes import dim_of_unknown_sizes
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import Size, is_one, memory_order, same

_LETTERS = "abcdefhijklmnopqrtuvwxyz"
"""Parameters are named by letters that no axis or scalar has: g: repeats; s: scalars."""


@dataclass(frozen=True)
class Finished:
    """A Subgraph; which values its parameters and scalars are, in call order; all that it has."""

    subgraph: Subgraph
    parameters: tuple[str, ...]
    scalars: tuple[str, ...]
    values: frozenset[str]


@dataclass(frozen=True)
class Positional:
    """Values in order of their making, and what their operations say of dims."""

    axes: Axes
    nodes: Sequence[Node]
    pairs: Sequence[tuple[Dim, Dim]]
    stretched: frozenset[str]
    ones: frozenset[str]

    @cached_property
    def _known(self) -> Mapping[str, Dim]:
        named = [dim for node in self.nodes for dim in node.type.dims]
        return self.axes.in_use([*named, *(dim for pair in self.pairs for dim in pair)], self.ones)

    def _finest(self, dim: Dim) -> Dim:
        found: list[str] = []
        for axis in dim:
            found += self._finest(self._known[axis]) if axis in self._known else (axis,)
        return tuple(found)

    @cached_property
    def _equal(self) -> Sequence[tuple[Dim, Dim]]:
        """The dims that are equal, in the finest axes."""
        return [(self._finest(left), self._finest(right)) for left, right in self.pairs]

    def finish(
        self,
        name: str,
        ends: Sequence[tuple[str, fx.Node]],
        static: Mapping[str, Dim],
        counted: Collection[str],
    ) -> Finished:
        """The Subgraph; see ``SubgraphWriter.finish``."""
        types = {node.name: node.type for node in self.nodes}
        parameters = [node for node in self.nodes if node.op == "parameter"]
        parameters.sort(key=lambda node: node.name not in static)
        scalars = [node for node in self.nodes if node.op == "scalar"]
        own = [node for node in self.nodes if node.op not in ("parameter", "scalar")]
        results = [self._result(i, of, types[of], node) for i, (of, node) in enumerate(ends)]
        nodes = [self._resolved(node, counted) for node in (*parameters, *scalars, *own, *results)]
        self._check_expanded(nodes)
        own_static = (dim for name, dim in static.items() if name in types)
        fixed = {axis for dim in own_static for axis in self._finest(dim)}
        self._check_indices([node for node in nodes if node.attrs.get("axis") not in fixed])
        sizes = {axis: self.axes.sizes[axis] for node in nodes for axis in node.type.axes}
        known = {a: s if a in fixed and isinstance(s, int) else None for a, s in sizes.items()}
        self._check_sizes(nodes, [axis for axis, size in known.items() if size is not None])
        subgraph = _named(Subgraph(name, known, tuple(nodes)), self.axes.expanded)
        called, numbers = (tuple(node.name for node in of) for of in (parameters, scalars))
        return Finished(subgraph, called, numbers, frozenset(types))

    def _check_expanded(self, nodes: Sequence[Node]) -> None:
        """A result may have an axis that a value was expanded by if an operand tells its size."""
        sizes, own = self.axes.sizes, _axes_of(nodes, "parameter")
        for axis in _axes_of(nodes, "result").intersection(self.axes.expanded) - own:
            meets = [dim for dim in met((axis,), self._equal) if dim and own.issuperset(dim)]
            if not any(same(prod(sizes[of] for of in dim), sizes[axis]) for dim in meets):
                raise RefusedError(
                    f"a result is expanded to {sizes[axis]}, and no operand tells the size; "
                    "accepted: sizes that another operand has"
                )

    def _resolved(self, node: Node, counted: Collection[str]) -> Node:
        dims = tuple(self._finest(dim) for dim in node.type.dims)
        attrs = {"counted": True} if node.name in counted else node.attrs
        return replace(node, type=TensorType(node.type.dtype, dims), attrs=attrs)

    def _result(self, number: int, name: str, type: TensorType, output: fx.Node) -> Node:
        """A result; refused if it has a dim of size 1 that other values of the chain stretch."""
        order = memory_order(output)
        if len(order) != len(type.dims):
            raise RefusedError(f"`{output.name}` has rank {len(order)}, its Subgraph another")
        if any(self.axes.yields(dim) and self.stretched.intersection(dim) for dim in type.dims):
            raise RefusedError(
                f"`{output.name}` has a dim of size 1 that meets a longer one later; accepted: "
                "results of full size"
            )
        return Node(f"result{number or ''}", "result", (name,), type, {"order": order})

    def _check_indices(self, nodes: Sequence[Node]) -> None:
        """Every index must run along one whole dim of a parameter, unless its size is compiled in;
        refused otherwise."""
        own = _axes_of(nodes, "parameter")
        for node in (node for node in nodes if node.op == "iota"):
            axis = node.attrs["axis"]
            if node.type.axes != (axis,):
                raise RefusedError(
                    "a view splits rows or columns that are numbered; accepted: whole"
                )
            found = {dim for dim in met((axis,), self._equal) if dim}
            whole = all(self._is_one_axis(dim, self.axes.sizes[axis]) for dim in found)
            if not whole or own.isdisjoint(name for dim in found for name in dim):
                raise RefusedError("a mask's indices run along no dim of the operands")

    def _is_one_axis(self, dim: Dim, size: Size) -> bool:
        """Whether a dim is one axis of a size; those of size 1 behind it do not count, unless its
        own is 1."""
        outer, *inner = (self.axes.sizes[axis] for axis in dim)
        return same(outer, size) and (not inner or not is_one(outer)) and all(map(is_one, inner))

    def _check_sizes(self, nodes: Iterable[Node], static: Collection[str]) -> None:
        dims = [dim for node in nodes if node.op == "parameter" for dim in node.type.dims]
        if (dim := dim_of_unknown_sizes(dims, self._equal, static)) is not None:
            sizes = " ".join(str(self.axes.sizes[axis]) for axis in dim)
            raise RefusedError(
                f"a view splits a dim into [{sizes}] and no operand tells the sizes; accepted: "
                "splits of dims that another operand has apart"
            )


def _axes_of(nodes: Iterable[Node], op: str) -> set[str]:
    """The axes of all nodes of an operation."""
    return {axis for node in nodes if node.op == op for axis in node.type.axes}


def met(dim: Dim, pairs: Collection[tuple[Dim, Dim]]) -> set[Dim]:
    """The dims that one meets, directly or by way of others."""
    known = {dim}
    while found := {dim for pair in pairs if known.intersection(pair) for dim in pair} - known:
        known |= found
    return known


def _named(subgraph: Subgraph, expanded: Collection[str]) -> Subgraph:
    """A Subgraph with names by the order in which things stand in it, whatever was lifted before.

    Before:  %p3 = parameter : f32[p3_0_0 p3_0_1][p3_1]; %s2 = scalar; %17 = mul %p3 %s2
    After:   %a = parameter : f32[a0_0 a0_1][a1]; %s0 = scalar; %0 = mul %a %s0
    """
    values: dict[str, str] = {}
    axes: dict[str, str] = {}
    counts = Counter[str]()
    for node in subgraph.nodes:
        values[node.name] = _value_name(node, counts)
        if node.op == "parameter":
            axes |= _axes_named(values[node.name], node.type)
    for axis in subgraph.axes:
        if axis not in axes:
            kind = "g" if axis in expanded else "index"
            axes[axis] = f"{kind}{_next(kind, counts)}"
    nodes = tuple(_renamed(node, values, axes) for node in subgraph.nodes)
    return Subgraph(subgraph.name, {axes[a]: size for a, size in subgraph.axes.items()}, nodes)


def _next(kind: str, counts: Counter[str]) -> int:
    counts[kind] += 1
    return counts[kind] - 1


def _value_name(node: Node, counts: Counter[str]) -> str:
    if node.op == "result":
        return node.name
    if node.op == "parameter":
        rounds, letter = divmod(_next("parameter", counts), len(_LETTERS))
        return _LETTERS[letter] * (1 + rounds)
    kind = "s" if node.op == "scalar" else ""
    return f"{kind}{_next(kind, counts)}"


def _axes_named(name: str, type: TensorType) -> dict[str, str]:
    found: dict[str, str] = {}
    for i, dim in enumerate(type.dims):
        for j, axis in enumerate(dim):
            found[axis] = f"{name}{i}_{j}" if len(dim) > 1 else f"{name}{i}"
    return found


def _renamed(node: Node, values: Mapping[str, str], axes: Mapping[str, str]) -> Node:
    dims = tuple(tuple(axes[axis] for axis in dim) for dim in node.type.dims)
    attrs: dict[str, Any] = dict(node.attrs)
    if "axis" in attrs:
        attrs["axis"] = axes[attrs["axis"]]
    inputs = tuple(values[name] for name in node.inputs)
    return Node(values[node.name], node.op, inputs, TensorType(node.type.dtype, dims), attrs)
