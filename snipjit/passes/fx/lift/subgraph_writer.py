"""Writes positional Subgraphs. What is written stays: a value never changes and nothing is undone.

A lift that is refused half-way leaves values that no result needs, and ``finish`` keeps only those
that its results need; so one writer can give several Subgraphs that share values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.subgraph import Dim, Node, TensorType
from snipjit.passes.fx.graph.candidate import Number
from snipjit.passes.fx.lift.axes import Axes
from snipjit.passes.fx.lift.positional import Finished, Positional, met
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    check_plain,
    element_type,
    is_one,
    is_tensor,
    tensor,
    value,
)

Pair = tuple[Dim, Dim]


@dataclass(frozen=True)
class Origin:
    """What a value is made of: parameters, indices along axes, scalars; and of any product?"""

    parameters: frozenset[str] = frozenset()
    indices: frozenset[str] = frozenset()
    scalars: frozenset[str] = frozenset()
    product: bool = False

    def joined(self, other: Origin) -> Origin:
        """What a function of two values is made of."""
        return Origin(
            self.parameters | other.parameters,
            self.indices | other.indices,
            self.scalars | other.scalars,
            self.product or other.product,
        )


@dataclass(frozen=True)
class Aligned:
    """What an operation says of its dims.

    pairs      dims that are equal
    stretched  axes of size 1 that meet a longer dim
    ones       axes of size 1 that are so in every call
    """

    pairs: tuple[Pair, ...] = ()
    stretched: frozenset[str] = frozenset()
    ones: frozenset[str] = frozenset()

    def joined(self, other: Aligned) -> Aligned:
        """What both say."""
        return Aligned(
            self.pairs + other.pairs, self.stretched | other.stretched, self.ones | other.ones
        )


class SubgraphWriter:
    """Collects values; its methods return their names."""

    def __init__(self) -> None:
        self.axes = Axes()
        self.nodes: dict[str, Node] = {}
        self.types: dict[str, TensorType] = {}
        self.origins: dict[str, Origin] = {}
        self.aligned: dict[str, Aligned] = {}
        self.tensors: dict[str, fx.Node] = {}
        self.scalars: dict[str, Number] = {}
        self.counted: set[str] = set()
        self._sides: dict[fx.Node, str] = {}

    # Inputs of the Subgraph.

    def side_input(self, node: fx.Node, dtype: str | None = None) -> str:
        """The parameter for a tensor that meets others; one for all its uses."""
        if node not in self._sides:
            self._sides[node] = self.parameter(node, dtype)
        return self._sides[node]

    def parameter(self, node: fx.Node, dtype: str | None = None, fixed: bool = False) -> str:
        """A new parameter for a tensor of the graph, with an axis for each dim.

        With ``dtype`` the tensor is converted for the call, if it is of another type; where sizes
        are ``fixed`` dims of size 1 have no axis.
        """
        dtype, shape = dtype or element_type(node), tensor(node).shape
        name = f"p{len(self.tensors)}"
        dims = tuple(
            () if fixed and is_one(size) else (self.axes.new(f"{name}_{i}", size),)
            for i, size in enumerate(shape)
        )
        ones = tuple(i for i, size in enumerate(shape) if is_one(size) and not fixed)
        attrs = {"ones": ones} if ones else {}
        self.tensors[name] = node
        self.origins[name] = Origin(parameters=frozenset((name,)))
        return self._keep(Node(name, "parameter", (), TensorType(dtype, dims), attrs))

    def scalar(self, argument: Number) -> str:
        """A scalar of the call: a constant of the model, a symbol, or a 0-dim tensor.

        Every use is a scalar of its own, so that equal constants do not change the structure.
        """
        if isinstance(argument, fx.Node) and is_tensor(argument):
            check_plain(argument)
        name = f"s{len(self.scalars)}"
        self.scalars[name] = float(argument) if isinstance(argument, int) else argument
        self.origins[name] = Origin(scalars=frozenset((name,)))
        self._keep(Node(name, "scalar", (), TensorType("f32")))
        boolean = isinstance(argument, fx.Node) and getattr(value(argument), "dtype", None)
        return self.op("to_i1", name) if boolean is torch.bool else name

    def constant(self, number: float) -> str:
        """A number that is part of the structure."""
        return self.add("constant", TensorType("f32"), value=float(number))

    def index(self, dim: Dim, position: int = 0) -> str:
        """The index along a dim of one axis, in float32, which holds every index below 2^24.

        After its dim the value has ``position`` dims of size 1.
        """
        (axis,) = dim
        name = self.to(self.add("iota", TensorType("i32", (dim,)), axis=axis), "f32")
        for at in range(1, position + 1):
            name = self.insert_dim(name, at)
        return name

    # Operations.

    def add(
        self, op: str, type: TensorType, *inputs: str, says: Aligned | None = None, **attrs: Any
    ) -> str:
        """An operation with the given result type, and what it says of dims."""
        name = str(len(self.nodes))
        origin = Origin(indices=frozenset((attrs["axis"],))) if op == "iota" else Origin()
        for source in inputs:
            origin = origin.joined(self.origins[source])
        product = origin.product or op in ("matmul", "sdpa")
        self.origins[name] = Origin(origin.parameters, origin.indices, origin.scalars, product)
        if says is not None:
            self.aligned[name] = says
        return self._keep(Node(name, op, inputs, type, attrs))

    def _keep(self, node: Node) -> str:
        self.nodes[node.name] = node
        self.types[node.name] = node.type
        return node.name

    def op(self, function: str, *inputs: str) -> str:
        """An elementwise function; operands of another element type are converted first."""
        row = ELEMENTWISE[function]
        wanted = [dtype or "f32" for dtype in row.operands]
        operands = [self.to(name, dtype) for name, dtype in zip(inputs, wanted, strict=True)]
        dtype = row.result or "f32"
        # Of a where, the last operand names the dims: the first is a mask.
        dims, says = self.broadcast(*(reversed(operands) if function == "where" else operands))
        return self.add(function, TensorType(dtype, dims), *operands, says=says)

    def to(self, name: str, dtype: str) -> str:
        """A value in the given element type; between others than f32 by way of it."""
        found = self.types[name].dtype
        if found == dtype:
            return name
        if "f32" not in (found, dtype):
            name = self.to(name, "f32")
        return self.add(f"to_{dtype}", TensorType(dtype, self.types[name].dims), name)

    def insert_dim(self, name: str, dim: int) -> str:
        """A value with one more dim, of size 1."""
        type = self.types[name]
        dims = (*type.dims[:dim], (), *type.dims[dim:])
        return self.add("unsqueeze", TensorType(type.dtype, dims), name, dim=dim)

    # How dims meet.

    def broadcast(self, *names: str, drop: int = 0) -> tuple[tuple[Dim, ...], Aligned]:
        """The dims of values aligned from the right, without the last ``drop`` of each.

        Of dims of size 1 the result has the longest, so that it may be another size in another
        call; but what results of products have no axis for stays of size 1, in all that meets them.
        """
        types = [self.types[name].dims for name in names]
        deep = [self.origins[name].product for name in names]
        cut = [(of[: len(of) - drop], made) for of, made in zip(types, deep, strict=True)]
        found: list[Dim] = []
        says = Aligned()
        for position in range(-max(len(of) for of, _ in cut), 0):
            here = [(of[position], made) for of, made in cut if len(of) >= -position]
            dim, more = self._common([d for d, _ in here], [d for d, made in here if made])
            found.append(dim)
            says = says.joined(more)
        return tuple(found), says

    def _common(self, dims: list[Dim], made: list[Dim]) -> tuple[Dim, Aligned]:
        """What a result has of aligned dims, ``made`` those of values of products."""
        firm = [dim for dim in dims if not self.axes.yields(dim)]
        if firm:
            pairs = tuple((firm[0], dim) for dim in firm[1:] if dim != firm[0])
            stretched = frozenset(axis for dim in dims if dim not in firm for axis in dim)
            return firm[0], Aligned(pairs, stretched)
        if made and not any(made):
            return made[0], Aligned(ones=frozenset(axis for dim in dims for axis in dim))
        return max((*made, *dims), key=len), Aligned()

    def align(self, left: Sequence[Dim], right: Sequence[Dim]) -> Aligned:
        """Split axes of aligned dims alike: heads folded into one batch are groups on one side."""
        pairs: list[Pair] = []
        ones: set[str] = set()
        for pair in zip(reversed(left), reversed(right), strict=False):
            coarse, fine = sorted(map(self.axes.leaves, pair), key=len)
            if 1 < len(coarse) < len(fine):
                try:
                    parts = self.axes.regroup([coarse], [self.axes.sizes[axis] for axis in fine])
                except RefusedError:
                    continue
                pairs += [(part, (axis,)) for part, axis in zip(parts, fine, strict=True) if part]
                ones.update(axis for part, axis in zip(parts, fine, strict=True) if not part)
        return Aligned(tuple(pairs), ones=frozenset(ones))

    def is_equal(self, one: Dim, other: Dim) -> bool:
        """Whether operations written so far align two dims, in one step or several."""
        leaves = self.axes.leaves
        said = (pair for of in self.aligned.values() for pair in of.pairs)
        pairs = [(leaves(left), leaves(right)) for left, right in said]
        return leaves(other) in met(leaves(one), pairs)

    # The Subgraph.

    def finish(
        self,
        name: str,
        results: Iterable[tuple[str, fx.Node]],
        static: Mapping[str, Dim],
    ) -> Finished:
        """The Subgraph whose results, values by name, replace nodes of the graph in turn.

        ``static`` are the dims whose traced sizes are compiled in, for the parameters that they
        belong to, which come first. Refused where a call could not tell the sizes of its axes.
        """
        ends = list(results)
        needed = self._needed(of for of, _ in ends)
        says = Aligned()
        for of in needed:
            says = says.joined(self.aligned.get(of, Aligned()))
        nodes = [self.nodes[of] for of in self.nodes if of in needed]
        return Positional(self.axes, nodes, says.pairs, says.stretched, says.ones).finish(
            name, ends, static, self.counted
        )

    def _needed(self, values: Iterable[str]) -> Collection[str]:
        found: set[str] = set()
        pending = list(values)
        while pending:
            value = pending.pop()
            if value not in found:
                found.add(value)
                pending += self.nodes[value].inputs
        return found
