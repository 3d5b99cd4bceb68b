"""GatheredAccess: a load by index, the address of which is computed of a register.

The index has been looked at (``emit_bounds.py``): it is a row of the tensor. In lanes that a masked
piece has beyond the end it is 0 or that of another lane, which is a row as well.
"""

from __future__ import annotations

from llvmlite import ir

from snipjit.ir.expression import Expression
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.strided_access import StridedAccess
from snipjit.passes.llvm.tile import Index, Tile
from snipjit.passes.llvm.vector_ir import I32, I64


class GatheredAccess(StridedAccess):
    """One Load by the index in a tile, along ``axis``, which the loaded value does not have."""

    def __init__(self, emission: Emission, e: Expression, indices: Tile) -> None:
        super().__init__(emission, e.inputs[0])
        self.axis: str = e.attrs["axis"]
        self.indices = indices
        self.axes = e.type.axes
        self.lanes = emission.vector_axis(self.axes)
        in_row = self.lanes is not None and self.lanes not in indices.axes
        self.contiguous = in_row and self.stride(self.lanes or "") == 1
        self.rows: dict[tuple[ir.Block, ir.Value], ir.Value] = {}

    def load_block(self, tile: Tile, index: Index) -> ir.Value:
        """Elements that lie apart, one by one."""
        return self.column(index)

    @property
    def apart(self) -> bool:
        """Whether each lane has an index of its own."""
        return self.lanes is not None and self.lanes in self.indices.axes

    def row(self, base: ir.Value, index: Index, lane: int) -> ir.Value:
        """The address of one lane."""
        assert self.lanes is not None
        if self.lanes in self.tensor.axes:
            base = super().row(base, index, lane)
        if not self.apart:
            return base
        return self.behind(base, {**index, self.lanes: index.get(self.lanes, 0) + lane})

    def address(self, index: Index) -> ir.Value:
        """The address of an element; where lanes have their own indices, of what they share."""
        pointer = super().address({**index, self.axis: 0})
        return pointer if self.apart else self.behind(pointer, index)

    def place(self, index: Index) -> ir.Value:
        """The address of an element; in lanes, of the first one of a vector."""
        if not self.apart:
            return super().place(index)
        return self.row(self.address(index), index, 0)

    def behind(self, pointer: ir.Value, index: Index) -> ir.Value:
        """The address as many rows further as the index says."""
        builder, number = self.emission.builder, self.number(index)
        slot = builder.block, number
        if slot not in self.rows:
            wide = number if number.type == I64 else builder.zext(number, I64)
            stride = self.emission.stride(self.tensor.name, self.axis)
            self.rows[slot] = builder.mul(wide, stride)
        return self.offset(pointer, self.rows[slot])

    def number(self, index: Index) -> ir.Value:
        """The index of an element; of a lane out of its vector, since it may be beyond the end."""
        tile = self.indices
        if tile.vector is None:
            return self.emission.element(tile, index)
        number = index.get(tile.vector, 0)
        lane = number % tile.width
        values = tile.at({**index, tile.vector: number - lane})
        return self.emission.builder.extract_element(values, ir.Constant(I32, lane))
