"""Writes a positional Subgraph: parameters and scalars first, then operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.subgraph import Dim, Node, Subgraph, TensorType
from snipjit.passes.fx.graph.candidate import Scalar
from snipjit.passes.fx.lift.axes import Axes
from snipjit.passes.fx.lift.head_scale import HeadScale
from snipjit.passes.fx.lift.unknown_sizes import dim_of_unknown_sizes
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    check_plain,
    element_type,
    is_one,
    is_tensor,
    memory_order,
    tensor,
    value,
)

# Side inputs are named by letters that no operand or axis has: q, k, v; g: repeats; s: scalars.
_LETTERS = "abcdefhijlmnoprtuwxyz"

ROLES = ("q", "k", "v")

# What a writer collects besides axes: ``save`` and ``restore`` go over all of it.
_KEPT = (
    "parameters", "scalars", "operations", "types", "pairs", "stretched", "side_axes", "counted",
)  # fmt: skip


class SubgraphWriter:
    """Collects the nodes of one Subgraph; its methods return the names of values."""

    def __init__(self) -> None:
        self.axes = Axes()
        self.parameters: list[tuple[fx.Node, Node]] = []
        self.scalars: list[Scalar | HeadScale] = []
        self.operations: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.pairs: list[tuple[Dim, Dim]] = []
        self.stretched: set[str] = set()
        self.side_axes: set[str] = set()
        self.counted: set[str] = set()

    def side_input(self, node: fx.Node) -> str:
        """The parameter for a tensor that meets the chain; one for all its uses."""
        for known, parameter in self.parameters:
            if known is node and parameter.name not in ROLES:
                return parameter.name
        sides = sum(parameter.name not in ROLES for _, parameter in self.parameters)
        letter = _LETTERS[sides % len(_LETTERS)]
        name = self.parameter(node, letter * (1 + sides // len(_LETTERS)))
        self.side_axes.update(self.types[name].axes)
        return name

    def parameter(self, node: fx.Node, name: str) -> str:
        """A parameter for a tensor of the graph, with an axis for each dim."""
        dtype, shape = element_type(node), tensor(node).shape
        dims = tuple((self.axes.new(f"{name}{i}", size),) for i, size in enumerate(shape))
        ones = tuple(i for i, size in enumerate(shape) if is_one(size))
        type = TensorType(dtype, dims)
        parameter = Node(name, "parameter", (), type, {"ones": ones} if ones else {})
        self.parameters.append((node, parameter))
        self.types[name] = type
        return name

    def scalar(self, argument: Scalar | HeadScale) -> str:
        """A scalar of the call: a constant of the model, a symbol, or a 0-dim tensor.

        Every use is a scalar of its own, so that equal constants do not change the structure.
        """
        if isinstance(argument, fx.Node) and is_tensor(argument):
            check_plain(argument)
        name = f"s{len(self.scalars)}"
        number = argument if isinstance(argument, fx.Node | HeadScale) else float(argument)
        self.scalars.append(number)
        self.types[name] = TensorType("f32")
        boolean = isinstance(argument, fx.Node) and getattr(value(argument), "dtype", None)
        return self.op("to_i1", name) if boolean is torch.bool else name

    def constant(self, number: float) -> str:
        """A number that is part of the structure."""
        return self.add("constant", TensorType("f32"), value=float(number))

    def add(self, op: str, type: TensorType, *inputs: str, **attrs: Any) -> str:
        """An operation with the given result type."""
        name = str(len(self.operations))
        self.operations.append(Node(name, op, inputs, type, attrs))
        self.types[name] = type
        return name

    def op(self, function: str, *inputs: str) -> str:
        """An elementwise function; operands of another element type are converted first."""
        row = ELEMENTWISE[function]
        wanted = [dtype or "f32" for dtype in row.operands]
        operands = [self.to(name, dtype) for name, dtype in zip(inputs, wanted, strict=True)]
        dtype = row.result or "f32"
        # Of a where, the last operand names the dims: the first is a mask.
        dims = self.broadcast(*(reversed(operands) if function == "where" else operands))
        return self.add(function, TensorType(dtype, dims), *operands)

    def to(self, name: str, dtype: str) -> str:
        """A value in the given element type; between others than f32 by way of it."""
        found = self.types[name].dtype
        if found == dtype:
            return name
        if "f32" not in (found, dtype):
            name = self.to(name, "f32")
        return self.add(f"to_{dtype}", TensorType(dtype, self.types[name].dims), name)

    def broadcast(self, *names: str, drop: int = 0) -> tuple[Dim, ...]:
        """The dims of values aligned from the right, without the last ``drop`` of each.

        Of dims of size 1 the result has the longest, so that it may be another size in another
        call; but what scores have no axis for stays of size 1, in side inputs too.
        """
        types = [self.types[name].dims for name in names]
        cut = [(of[: len(of) - drop], self._is_scores(of)) for of in types]
        found: list[Dim] = []
        for position in range(-max(len(of) for of, _ in cut), 0):
            here = [(of[position], scores) for of, scores in cut if len(of) >= -position]
            found.append(self._common([d for d, _ in here], [d for d, scores in here if scores]))
        return tuple(found)

    def _common(self, dims: list[Dim], scores: list[Dim]) -> Dim:
        """What a result has of aligned dims, ``scores`` those of values with axes of their own."""
        firm = [dim for dim in dims if not self.axes.yields(dim)]
        if firm:
            self.pairs += [(firm[0], dim) for dim in firm[1:]]
            self.stretched.update(axis for dim in dims if dim not in firm for axis in dim)
            return firm[0]
        if scores and not any(scores):
            for dim in dims:
                self.axes.fix_at_one(dim)
        return max((*scores, *dims), key=lambda dim: len(self.axes.leaves(dim)))

    def _is_scores(self, dims: tuple[Dim, ...]) -> bool:
        """Whether a value has axes of its own, and not of side inputs alone."""
        return not self.side_axes.issuperset(axis for dim in dims for axis in dim)

    def align(self, left: tuple[Dim, ...], right: tuple[Dim, ...]) -> None:
        """Split axes of aligned dims alike: heads folded into one batch are groups on one side."""
        for pair in zip(reversed(left), reversed(right), strict=False):
            coarse, fine = sorted(map(self.axes.leaves, pair), key=len)
            if 1 < len(coarse) < len(fine):
                saved = self.save()
                try:
                    parts = self.axes.regroup([coarse], [self.axes.sizes[axis] for axis in fine])
                except RefusedError:
                    self.restore(saved)
                    continue
                for part, axis in zip(parts, fine, strict=True):
                    if part:
                        self.pairs.append((part, (axis,)))
                    else:
                        self.axes.fix_at_one((axis,))

    def is_equal(self, one: Dim, other: Dim) -> bool:
        """Whether operations written so far align two dims, in one step or several."""
        pairs = [(self.axes.leaves(left), self.axes.leaves(right)) for left, right in self.pairs]
        wanted, known = self.axes.leaves(other), {self.axes.leaves(one)}
        while found := {dim for pair in pairs if known.intersection(pair) for dim in pair} - known:
            known |= found
        return wanted in known

    def ordered(self) -> list[tuple[fx.Node, Node]]:
        """The parameters in call order: q, k, v, then side inputs as the walk met them."""
        return sorted(self.parameters, key=lambda pair: (*ROLES, pair[1].name).index(pair[1].name))

    def save(self) -> tuple[Any, ...]:
        """What ``restore`` needs to undo everything written from here on."""
        own = [getattr(self, name).copy() for name in _KEPT]
        axes = self.axes
        return (own, axes.sizes.copy(), axes.expanded.copy(), axes.parts.copy())

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Undo everything written since ``save``."""
        own, self.axes.sizes, self.axes.expanded, self.axes.parts = saved
        for name, kept in zip(_KEPT, own, strict=True):
            setattr(self, name, kept)

    def finish(self, results: Iterable[tuple[str, fx.Node]], static: list[Dim]) -> Subgraph:
        """The Subgraph whose results, values by name, replace nodes of the graph in turn."""
        names = [f"s{i}" for i in range(len(self.scalars))]
        counted = {name: {"counted": True} for name in self.counted}
        scalars = [Node(s, "scalar", (), TensorType("f32"), counted.get(s, {})) for s in names]
        parameters = [parameter for _, parameter in self.ordered()]
        ends = [self._result(i, name, output) for i, (name, output) in enumerate(results)]
        nodes = [*parameters, *scalars, *self.operations, *ends]
        nodes = [Node(n.name, n.op, n.inputs, self.axes.resolve(n.type), n.attrs) for n in nodes]
        if any(node.op == "iota" and node.type.axes != (node.attrs["axis"],) for node in nodes):
            raise RefusedError("a view splits rows or columns that are numbered; accepted: whole")
        fixed = {axis for dim in static for axis in self.axes.leaves(dim)}
        sizes = {axis: self.axes.sizes[axis] for node in nodes for axis in node.type.axes}
        axes = {
            axis: size if axis in fixed and isinstance(size, int) else None
            for axis, size in sizes.items()
        }
        self._check_sizes([axis for axis, size in axes.items() if size is not None])
        return Subgraph("attention", axes, tuple(nodes))

    def _result(self, number: int, name: str, output: fx.Node) -> Node:
        """A result; refused if it has a dim of size 1 that other values of the chain stretch."""
        order = memory_order(output)
        type = self.types[name]
        if len(order) != len(type.dims):
            raise RefusedError(f"`{output.name}` has rank {len(order)}, its Subgraph another")
        if any(self.axes.yields(dim) and self.stretched.intersection(dim) for dim in type.dims):
            raise RefusedError(
                f"`{output.name}` has a dim of size 1 that meets a longer one later; accepted: "
                "results of full size"
            )
        return Node(f"result{number or ''}", "result", (name,), type, {"order": order})

    def _check_sizes(self, static: list[str]) -> None:
        leaves = self.axes.leaves
        dims = [leaves(dim) for _, parameter in self.parameters for dim in parameter.type.dims]
        pairs = [(leaves(left), leaves(right)) for left, right in self.pairs]
        if (dim := dim_of_unknown_sizes(dims, pairs, static)) is not None:
            names = " ".join(dim)
            raise RefusedError(
                f"a view splits a dim into [{names}] and no operand tells the sizes; accepted: "
                "splits of dims that another operand has apart"
            )
