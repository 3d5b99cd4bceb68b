"""Writes what makes one side input into a Subgraph, from the side input up to its leaves."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import fx

from snipjit.ir.exact_integers import SMALL
from snipjit.ir.operations import ELEMENTWISE, is_exact, kind_of
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.index.created import creation
from snipjit.passes.fx.index.fills import held
from snipjit.passes.fx.index.index_layouts import sources_of_dims
from snipjit.passes.fx.index.index_values import IndexValues
from snipjit.passes.fx.index.indices import ELEMENTS, WHOLE, Indices
from snipjit.passes.fx.lift.expand_elementwise import expand_elementwise, is_elementwise
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.lift.triangles import TRIANGLES, cut
from snipjit.passes.fx.nodes.calls import Call, lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import RefusedError, Remembered
from snipjit.passes.fx.nodes.traced import DTYPES, HALVES, is_number, is_one, is_tensor, tensor

_CHOICES = ("where", "where_method", "masked_fill")
"""Their literals take the type of the result, and are not computed with."""
_CONSTANTS = (0.0, 1.0, float("inf"), -float("inf"))
"""Numbers that belong to the structure: what they hide can be left out."""


def is_large(node: fx.Node) -> bool:
    """Whether a tensor has rows and keys."""
    return tensor(node).dim() >= 2 and not any(map(is_one, tensor(node).shape[-2:]))


@dataclass
class MaskWalk:
    """Side inputs from below; names of values have the rank of their tensors, or are numbers."""

    flow: ValueFlow
    writer: SubgraphWriter
    known_indices: IndexValues
    taken: Collection[fx.Node]
    _scalars: dict[fx.Node, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = Remembered(self._lift)

    def name(self, node: fx.Node) -> str:
        """The value of a tensor or number. RefusedError if it has none."""
        return self._names(node)

    def _lift(self, node: fx.Node) -> str:
        found = self.known_indices.of(node)
        if found is not None and (found.is_constant or self._is_along(found)):
            return self._indices(node, found)
        if is_number(node):
            return self._scalar(node)
        try:
            name = self._producers(node)
        except RefusedError:
            return self._leaf(node)
        # A tensor without rows or keys is taken in if it is made of indices: they may limit it.
        origin = self.writer.origins[name]
        taken_in = is_large(node) or origin.indices or not origin.parameters
        return name if taken_in else self._leaf(node)

    def _leaf(self, node: fx.Node) -> str:
        if node in self.taken or tensor(node).dtype not in DTYPES:
            raise RefusedError(f"`{node.name}` is no tensor of floats or booleans made before")
        return self.writer.side_input(node)

    def _scalar(self, node: fx.Node) -> str:
        if is_tensor(node) and tensor(node).dtype not in (*ELEMENTS, *HALVES):
            raise RefusedError(f"`{node.name}` is a number that float32 may not hold")
        if node not in self._scalars:
            self._scalars[node] = self.writer.scalar(node)
        return self._scalars[node]

    # Indices.

    @staticmethod
    def _is_along(found: Indices) -> bool:
        """Whether indices run along rows and keys only."""
        return not any(found.factors[:-2])

    def _indices(self, node: fx.Node, found: Indices) -> str:
        """``Σ factor · index + number + Σ symbol`` in float32, which holds them."""
        parts = [self._index(node, d, f) for d, f in enumerate(found.factors) if f]
        symbols = [(self._scalar(symbol), sign) for symbol, sign in found.symbols.values()]
        if parts or len(symbols) > 1 or found.number:
            self.writer.counted.update(name for name, _ in symbols)
        parts += symbols
        boolean = is_tensor(node) and tensor(node).dtype == torch.bool
        if not parts or found.number:
            parts.append((self._number(found.number), 1))
        parts.sort(key=lambda part: -part[1])
        (name, sign), *rest = parts
        if sign < 0:
            name = self.writer.op("neg", name)
        for other, sign in rest:
            name = self.writer.op("add" if sign > 0 else "sub", name, other)
        return self.writer.to(name, "i1") if boolean else name

    def _index(self, node: fx.Node, dim: int, sign: int) -> tuple[str, int]:
        shape = tensor(node).shape
        axis = self.writer.axes.new(f"index{len(self.writer.axes.sizes)}", shape[dim])
        return self.writer.index((axis,), len(shape) - dim - 1), sign

    def _number(self, number: float) -> str:
        constant = number in _CONSTANTS or isinstance(number, int)
        return self.writer.constant(number) if constant else self.writer.scalar(number)

    # Operations.

    def _producers(self, node: fx.Node) -> str:
        """The value of an operation by those of its operands."""
        call = lookup(node)
        found = tensor(node)
        if call is None or mutated(node) is not None or self.flow.is_mutated(node):
            raise RefusedError(f"`{node.name}` is no pure operation of the table")
        if found.dtype not in (*ELEMENTS, *HALVES) or found.device.type != "cpu":
            raise RefusedError(f"`{node.name}` is {found.dtype} on {found.device}")
        name = self._operation(node, call)
        return self.writer.to(name, "i1" if found.dtype == torch.bool else "f32")

    def _operation(self, node: fx.Node, call: Call) -> str:
        if call.op in ("and", "or") and (rest := self._undecided(node, call)) is not None:
            return rest
        if call.op == "cast":
            return self._cast(node, call)
        if call.op in TRIANGLES:
            return self._triangle(node, call)
        if (made := creation(node)) is not None and not made.is_range:
            return self._operand(node, made.value)
        if kind_of(call.op) == "comparison" and (name := self._compared(node, call)) is not None:
            return name
        if is_elementwise(call.op):
            return self._computed(node, call)
        return self._moved(node, call)

    def _computed(self, node: fx.Node, call: Call) -> str:
        """An elementwise call; whole numbers only by what gives them in float32 as in int64."""
        of_operands: set[str] = set()
        before = len(self.writer.nodes)

        def operand(argument: Any) -> str:
            known = len(self.writer.nodes)
            name = self._operand(node, argument)
            of_operands.update(islice(self.writer.nodes, known, None))
            return name

        name = expand_elementwise(call, self.writer, operand)
        made = set(islice(self.writer.nodes, before, None)) - of_operands
        own = (self.writer.nodes[value].op for value in made)
        if tensor(node).dtype in WHOLE and not all(is_exact(op) for op in own if op in ELEMENTWISE):
            raise RefusedError(f"`{node.name}` computes whole numbers")
        return name

    def _compared(self, node: fx.Node, call: Call) -> str | None:
        """A comparison of indices that count from the same scalars: these may be of any size."""
        sides = [call.get(name) for name in ("input", "other")]
        left, right = (self.known_indices.argument(node, side) for side in sides)
        if left is None or right is None or not (common := left.common(right)):
            return None
        dtypes = {tensor(self.flow.read(node, side)).dtype for side in sides}
        if len(dtypes) > 1 or not dtypes <= {*WHOLE}:
            return None  # they would overflow, or be rounded, each in its own way
        if not (self._is_along(left) and self._is_along(right)):
            return None
        names = [
            self._indices(self.flow.read(node, side), of.without(common, right.number))
            for side, of in zip(sides, (left, right), strict=True)
        ]
        return self.writer.op(call.op, *names)

    def _operand(self, reader: fx.Node, argument: Any) -> str:
        if isinstance(argument, fx.Node):
            source = self.flow.read(reader, argument)
            name = self.name(source)
            if tensor(reader).dtype in WHOLE and name in self.writer.scalars:
                self.writer.counted.add(name)
            return name
        if not isinstance(argument, int | float):
            raise RefusedError(f"`{reader.name}` takes {argument!r}; accepted: tensors and numbers")
        if (call := lookup(reader)) is not None and call.op in _CHOICES:
            argument = held(argument, tensor(reader).dtype)
        if argument is None or (tensor(reader).dtype in WHOLE and abs(argument) > SMALL):
            raise RefusedError(f"`{reader.name}` makes whole numbers that float32 may not hold")
        return self._number(float(argument) if isinstance(argument, bool) else argument)

    def _undecided(self, node: fx.Node, call: Call) -> str | None:
        """The other side of ``and`` with true everywhere, and of ``or`` with false."""
        if tensor(node).dtype != torch.bool:
            return None  # whole numbers go bit by bit
        sides = [call.get("input"), call.get("other")]
        for side, other in (sides, sides[::-1]):
            known = self.known_indices.argument(node, side)
            neutral = known is not None and known.is_constant
            if neutral and known is not None and bool(known.number) == (call.op == "and"):
                return self._operand(node, other)
        return None

    def _cast(self, node: fx.Node, call: Call) -> str:
        source = self.flow.read(node, call.get("input"))
        if tensor(source).dtype.is_floating_point and tensor(node).dtype in WHOLE:
            raise RefusedError(f"`{node.name}` cuts off what is no whole number")
        if tensor(source).dtype in WHOLE and tensor(node).dtype in HALVES:
            raise RefusedError(f"`{node.name}` rounds whole numbers")
        return self.name(source)

    def _triangle(self, node: fx.Node, call: Call) -> str:
        """``tril`` or ``triu`` as a condition on the indices of the last two dims."""
        diagonal = self._operand(node, call.get("diagonal", 0))
        value = self._operand(node, call.get("input"))
        column, _ = self._index(node, tensor(node).dim() - 1, 1)
        row, _ = self._index(node, tensor(node).dim() - 2, 1)
        return cut(self.writer, call.op, value, (row, column), diagonal)

    def _moved(self, node: fx.Node, call: Call) -> str:
        """A layout op that adds or repeats dims; repeated are they where the value is read."""
        source = self.flow.read(node, call.get("input"))
        if not is_tensor(source):
            raise RefusedError(f"`{node.name}` moves no tensor")
        order = sources_of_dims(node)  # what is no layout op is not looked above
        name = self.name(source)
        rank = tensor(source).dim()
        # The leading dims of size 1 that numbers leave out.
        for _ in range(rank - len(self.writer.types[name].dims)):
            name = self.writer.insert_dim(name, 0)
        if [d for d in order if d is not None] != list(range(rank)):
            raise RefusedError(f"`{node.name}` drops dims")
        for position, dim in enumerate(order):
            if dim is None:
                name = self.writer.insert_dim(name, position)
        return name
