"""IndexedAccess: lanes that lie apart, read by index along an axis, a few neighbours at once.

Neighbours along the axis have indices one after another, or the same one, but where an outer part
of the axis goes on to its next element. Whether it does among some neighbours is asked when the
kernel runs; they are read one by one only then.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from snipjit.ir.parts import Parts
from snipjit.ir.tensors import Tensor
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.emit_transpose import rows_to_columns
from snipjit.passes.llvm.strided_access import StridedAccess
from snipjit.passes.llvm.tile import Index, Tile
from snipjit.passes.llvm.vector_ir import I64

NEIGHBOURS = 4
"""Elements that are read at once: more of them would more often go over an edge."""


class IndexedAccess(StridedAccess):
    """One Load by index along ``axis``, ``NEIGHBOURS`` at once."""

    def __init__(self, emission: Emission, name: str, parts: Parts, axis: str) -> None:
        super().__init__(emission, name)
        self.parts = parts
        self.axis = axis

    @staticmethod
    def of(emission: Emission, name: str) -> IndexedAccess | None:
        """The access to a tensor; None where it is none whose neighbours can be read at once."""
        tensor, scope = emission.tensors[name], emission.scope
        if not isinstance(tensor, Tensor) or tensor.parts is None:
            return None
        axes = [axis for axis in tensor.axes if tensor.is_index(axis)]
        lanes = emission.vector_axis(emission.lir.sort_axes(tensor.axes))
        if len(axes) != 1 or lanes in (None, axes[0]) or axes[0] in scope.valid:
            return None
        whole = scope.counts.get(axes[0], 1) % NEIGHBOURS == 0
        # Neighbours have one index, or neighbouring indices are neighbours in memory.
        near = tensor.parts.inner(axes[0]) or tensor.innermost == axes[0]
        return IndexedAccess(emission, name, tensor.parts, axes[0]) if whole and near else None

    def load_block(self, tile: Tile, index: Index) -> ir.Value:
        """Load the neighbours of an element; they all enter the tile."""
        number = index.get(self.axis, 0)
        places = [
            {**index, self.axis: place + number // NEIGHBOURS * NEIGHBOURS}
            for place in range(NEIGHBOURS)
        ]
        columns = self.either(
            self.is_inside(places[0][self.axis]),
            lambda: self.at_once(places[0]),
            lambda: [self.column(place) for place in places],
        )
        for place, column in zip(places, columns, strict=True):
            tile.made[tuple(place.get(axis, 0) for axis in tile.axes)] = column
        return tile.made[tuple(index.get(axis, 0) for axis in tile.axes)]

    def is_inside(self, number: int) -> ir.Value:
        """Whether no outer part goes on among the neighbours of an element of the tile."""
        builder, parts = self.emission.builder, self.parts
        bound = self.emission.product(parts.inner(self.axis) or parts.own(self.axis), parts)
        first = self.scope.index.get(self.axis, ir.Constant(I64, 0))
        place = builder.urem(builder.add(first, ir.Constant(I64, number)), bound)
        last = builder.add(place, ir.Constant(I64, NEIGHBOURS))
        return builder.icmp_unsigned("<=", last, bound)

    def at_once(self, start: Index) -> list[ir.Value]:
        """Neighbours whose indices are the same, or one after another."""
        if self.parts.inner(self.axis):
            return [self.column(start)] * NEIGHBOURS
        base = self.address(start)
        lanes = range(self.emission.width)
        rows = [self.load_run(self.row(base, start, lane), NEIGHBOURS) for lane in lanes]
        return rows_to_columns(self.emission.builder, [self.from_memory(row) for row in rows])

    def either(
        self,
        condition: ir.Value,
        one: Callable[[], list[ir.Value]],
        other: Callable[[], list[ir.Value]],
    ) -> list[ir.Value]:
        """Values that are made in one of two ways."""
        builder = self.emission.builder
        ways = [builder.append_basic_block(f"{self.axis}.{name}") for name in ("inside", "edge")]
        joined = builder.append_basic_block(f"{self.axis}.read")
        builder.cbranch(condition, *ways)
        found: list[tuple[ir.Block, list[ir.Value]]] = []
        for way, make in zip(ways, (one, other), strict=True):
            builder.position_at_end(way)
            values = make()
            found.append((builder.block, values))
            builder.branch(joined)
        builder.position_at_end(joined)
        phis = [builder.phi(value.type) for value in found[0][1]]
        for block, values in found:
            for phi, value in zip(phis, values, strict=True):
                phi.add_incoming(value, block)
        return phis
