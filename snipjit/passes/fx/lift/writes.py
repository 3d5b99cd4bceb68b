"""Writes into a part of a value: ``where`` the part is, what was written, else what was there.

A mask is a condition of its own, a number or a slice one on the index along its dim, a diagonal one
on two indices. What is written is computed in the dims of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import reduce
from typing import Any

from torch import fx

from snipjit.passes.fx.graph.places import At, Diagonal, Index, Mask, Place, Span
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.graph.writes import PUT, SCATTERS, Write, views_of, write_of
from snipjit.passes.fx.lift.expand_elementwise import expand_elementwise, is_elementwise
from snipjit.passes.fx.lift.layouts import transpose_to
from snipjit.passes.fx.lift.lengths import length
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.lift.triangles import index_along
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    Size,
    element_type,
    is_number,
    is_one,
    is_tensor,
    same,
    tensor,
)

Operand = Callable[[fx.Node, Any], str]


@dataclass(frozen=True)
class WriteTranslator:
    """Translates the writes of a region.

    ``value`` gives the Subgraph value of a node of the region, ``operand`` that of anything that a
    node reads.

    Before:  %w = setitem(%s, (…, 0), -1e9); %v = written(%s, %w)
    After:   %0 = iota {axis=n}; %1 = eq %0 0; %2 = where %1 %s0 %s
    """

    flow: ValueFlow
    region: Collection[fx.Node]
    writer: SubgraphWriter
    value: Callable[[fx.Node], str]
    operand: Operand

    def translate(self, node: fx.Node, call: Call) -> str:
        """The value of a tensor after a write into a part of it."""
        return _Translation(self, node, write_of(self.flow, node, call)).run()


class _Translation:
    """One write; ``node`` is the tensor after it, ``base`` the value before."""

    def __init__(self, outer: WriteTranslator, node: fx.Node, write: Write) -> None:
        self.flow = outer.flow
        self.region = outer.region
        self.writer = outer.writer
        self.outer = outer
        self.node = node
        self.write = write
        self.base = self._operand(write.base)

    def run(self) -> str:
        """The value of the tensor."""
        written = self._written()
        if written == self.base:
            return self.base
        return self.writer.op("where", self._condition(self.write.place), written, self.base)

    def _operand(self, argument: Any) -> str:
        """What the write reads, in the version that it reads."""
        if isinstance(argument, fx.Node) and argument in self.region:
            return self.outer.value(argument)
        return self.outer.operand(self.node, argument)

    def _written(self) -> str:
        write = self.write
        if write.call is None:
            return self._lifted(write.node, write.values, write.place)
        target = write.call.get("input")
        if not is_elementwise(write.call.op):
            raise self._refused(write.node)
        value = expand_elementwise(
            write.call,
            self.writer,
            lambda arg: self.base if arg is target else self._lifted(write.node, arg, write.place),
        )
        return self.writer.to(value, element_type(self.node))

    # What is written.

    def _lifted(self, reader: fx.Node, argument: Any, place: Place) -> str:
        """A value with the shape of the part at ``place``, in the dims of the whole."""
        if not isinstance(argument, fx.Node):
            return self._operand(argument)
        source = self.flow.read(reader, argument)
        if is_number(source):
            return self._operand(source)
        if source not in self.region:
            return self._spread(source, place)
        if (whole := self._same_part(source, place)) is not None:
            return self.outer.value(whole)
        return self._computed(source, place)

    def _same_part(self, source: fx.Node, place: Place) -> fx.Node | None:
        """The value of which ``source`` is the part at ``place``, None if it is of none."""
        if place.is_plain and self._has_shape(source):
            return source
        for whole, other in views_of(self.flow, source):
            if other == place and whole in self.region and self._has_shape(whole):
                return whole
        return None

    def _has_shape(self, source: fx.Node) -> bool:
        shape = tensor(self.node).shape
        own = tensor(source).shape if is_tensor(source) else ()
        return len(own) == len(shape) and all(map(same, own, shape))

    def _computed(self, source: fx.Node, place: Place) -> str:
        """A value of the chain that was computed from the part."""
        call = lookup(source)
        if call is None:
            raise self._refused(source)

        def operand(argument: Any) -> str:
            return self._lifted(source, argument, place)

        if call.op in PUT:
            return self.writer.to(operand(PUT[call.op](call)), element_type(source))
        if is_elementwise(call.op):
            value = expand_elementwise(call, self.writer, operand)
            return self.writer.to(value, element_type(source))
        if call.op in SCATTERS:
            return self._nested(source, call, place)
        if call.op == "cast":
            return self.writer.to(operand(call.get("input")), element_type(source))
        return self._spread(source, place)

    def _nested(self, source: fx.Node, call: Call, place: Place) -> str:
        """The part after a write into a part of it: ``y = x[2:]; y[:, 0] = 1; x[2:] = y``."""
        inner = write_of(self.flow, source, call)
        base = self._lifted(source, call.get("input"), place)
        limits = inner.place.of_whole(place)
        value = self._lifted(source, inner.values, limits.both(place))
        return self.writer.op("where", self._condition(limits), value, base)

    def _spread(self, source: fx.Node, place: Place) -> str:
        """A tensor that broadcasts to the part, with its dims where the whole has them."""
        rank, own = len(place.parts), tensor(source).shape
        dims = place.dims[len(place.dims) - len(own) :]
        clear = len(dims) == len(own) and all(
            dim is not None and (place.parts[dim] is None or is_one(size))
            for dim, size in zip(dims, own, strict=False)
        )
        if not clear:
            raise RefusedError(
                f"`{source.name}` is written element by element; accepted: numbers, and tensors "
                "that have size 1 along slices and no dim for a mask or a diagonal"
            )
        kept = [dim for dim in dims if dim is not None]
        if kept == list(range(rank - len(kept), rank)):
            return self._operand(source)
        inside = source in self.region
        name = self._operand(source) if inside else self.writer.side_input(source)
        order = sorted(range(len(kept)), key=kept.__getitem__)
        return self._opened(transpose_to(self.writer, name, order), sorted(kept), rank)

    def _opened(self, name: str, dims: list[int], rank: int) -> str:
        """A value whose dims are some of ``rank``, with the dims between them and behind."""
        for dim in range(min(dims, default=rank), rank):
            if dim not in dims:
                name = self.writer.insert_dim(name, dim - min(dims))
        return name

    # Where it is written.

    def _condition(self, place: Place) -> str:
        found = [self._inside(part, dim) for dim, part in enumerate(place.parts) if part]
        if place.diagonal is not None:
            found.append(self._on_diagonal(place.diagonal))
        if place.mask is not None:
            found.append(self._masked(place.mask, len(place.parts)))
        if not found:  # all of it, and what is written may have fewer dims
            return self.writer.to(self.writer.constant(1.0), "i1")
        return reduce(lambda left, right: self.writer.op("and", left, right), found)

    def _inside(self, part: At | Span, dim: int) -> str:
        """The condition that an index along a dim is in a part of it."""
        index, op = self._index(dim), self.writer.op
        if isinstance(part, At):
            return op("eq", index, self._number(part.number, dim))
        below = op("lt", index, self._number(part.stop, dim)) if part.stop is not None else ""
        if below and part.start == 0:
            return below
        above = op("ge", index, self._number(part.start, dim))
        return op("and", above, below) if below else above

    def _on_diagonal(self, diagonal: Diagonal) -> str:
        row, column = (self._index(dim) for dim in (diagonal.row, diagonal.column))
        distance = self.writer.op("sub", column, row)
        return self.writer.op("eq", distance, self.writer.constant(diagonal.offset))

    def _masked(self, mask: Mask, rank: int) -> str:
        node = mask.node
        dims = list(range(mask.first, mask.first + tensor(node).dim()))
        if dims[-1] == rank - 1 or node in self.region:
            return self._opened(self._operand(node), dims, rank)
        return self._opened(self.writer.side_input(node), dims, rank)

    def _index(self, dim: int) -> str:
        """The index along a dim of the whole."""
        dims = self.writer.types[self.base].dims
        return index_along(self.writer, dims[dim], len(dims) - dim - 1)

    def _number(self, number: Index, dim: int) -> str:
        """A number of an index; below 0 it counts from the end."""
        if isinstance(number, fx.Node):
            name = self.writer.scalar(number)
            self.writer.counted.add(name)
            return name
        size = tensor(self.node).shape[dim]
        if number >= 0:
            return self.writer.constant(number)
        if isinstance(size, int):
            return self.writer.constant(max(size + number, 0))
        return self.writer.op("add", self._length(size), self.writer.constant(number))

    def _length(self, size: Size) -> str:
        if (name := length(self.writer, size)) is not None:
            self.writer.counted.add(name)
            return name
        raise RefusedError(
            f"`{self.write.node.name}` counts from the end of a dim that no operand has; accepted: "
            "indices from the beginning"
        )

    def _refused(self, source: fx.Node) -> RefusedError:
        return RefusedError(
            f"`{source.name}` ({spelled(source)}) is written to a part of the scores; accepted: "
            "numbers, tensors that broadcast, and elementwise ops on that part"
        )
