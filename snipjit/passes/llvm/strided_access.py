"""StridedAccess: lanes that lie apart in memory, loaded and stored in runs that are transposed.

A lane beyond the end of a tensor goes to the last valid row instead; stores go in falling order of
rows, so that the last row's own values are written last.
"""

from __future__ import annotations

from math import gcd

from llvmlite import ir

from snipjit.passes.llvm.access import Access
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.emit_transpose import columns_to_rows, rows_to_columns
from snipjit.passes.llvm.tile import Index, Tile
from snipjit.passes.llvm.vector_ir import I32, ask_for, pick


class StridedAccess(Access):
    """One Load or Store whose lanes may be strided.

    run   neighbours along the innermost axis of memory that a lane loads at once
    held  elements that each of them holds
    """

    def __init__(self, emission: Emission, name: str, pairs: str | None = None) -> None:
        super().__init__(emission, name, pairs)
        count = self.scope.counts.get(self.unit, 1) if self.unit else 1
        self.run, self.held = gcd(count, emission.width), 1
        # Of narrow types whole rows are converted: floats transpose faster.
        self.by_rows = self.run > 1 and self.tensor.element.is_narrow

    def load_block(self, tile: Tile, index: Index) -> ir.Value:
        """Load and transpose the block that holds an element; the whole block enters the tile."""
        unit, run = self.unit, self.run
        start, block = dict(index), run * self.held
        if unit is not None and run > 1:
            start[unit] = index.get(unit, 0) // block * block
        base = self.address(start)
        mask = self.run_mask(start)
        addresses = [self.row(base, start, lane) for lane in range(self.emission.width)]
        rows = [self.load_run(address, run, mask) for address in addresses]
        if self.by_rows:
            rows = [self.from_memory(row) for row in rows]
        columns = [self.gather(rows)] if run == 1 else rows_to_columns(self.emission.builder, rows)
        for number, column in enumerate(columns):
            further = number * self.held
            place = {**start, unit: start[unit] + further} if unit and run > 1 else start
            slot = tuple(place.get(axis, 0) for axis in tile.axes)
            tile.made[slot] = column if self.by_rows else self.from_memory(column)
        return tile.made[tuple(index.get(axis, 0) for axis in tile.axes)]

    def run_mask(self, start: Index) -> ir.Value | None:
        """Which neighbours of a run along the unit axis are in the tensor; None if all are."""
        first = start.get(self.unit, 0) if self.unit else 0
        if self.unit is None or self.run == 1 or not self.emission.is_partial(self.unit, first):
            return None
        mask = self.emission.mask(self.unit, first)
        return pick(self.emission.builder, mask, range(self.run))

    def store_blocks(self, tile: Tile) -> None:
        """Transpose and store every block of a tile, the last vectors first if they need it."""
        assert self.lanes is not None
        places = list(self.emission.indices(self.axes, self.pairs))
        firsts = range(0, self.scope.counts.get(self.lanes, 1), self.emission.width)
        partial = [first for first in firsts if self.emission.is_partial(self.lanes, first)]
        for index in reversed(places) if len(partial) > 1 else places:
            number = index.get(self.unit, 0) if self.unit else 0
            if number % (self.run * self.held):
                continue
            columns = []
            for part in range(self.run):
                further = number + part * self.held
                place = {**index, self.unit: further} if self.unit else index
                value = self.emission.operand(tile, place, self.axes)
                columns.append(value if self.by_rows else self.to_memory(value))
            self.store_block(index, columns)

    def store_block(self, index: Index, columns: list[ir.Value]) -> None:
        """Transpose columns and write the rows."""
        builder = self.emission.builder
        base = self.address(index)
        if self.run > 1:
            rows = columns_to_rows(builder, columns)
            rows = [self.to_memory(row) for row in rows] if self.by_rows else rows
        else:
            lanes = range(self.emission.width)
            rows = [builder.extract_element(columns[0], ir.Constant(I32, lane)) for lane in lanes]
        for lane in reversed(range(self.emission.width)):
            builder.store(rows[lane], self.row(base, index, lane), align=self.bytes)

    def row(self, base: ir.Value, index: Index, lane: int) -> ir.Value:
        """The address of one lane; a lane beyond the tensor gets the last valid one's."""
        assert self.lanes is not None
        first = index.get(self.lanes, 0)
        if self.is_index(self.lanes):
            return self.advance(base, self.lanes, first + lane)
        if self.emission.is_partial(self.lanes, first) and not self.is_buffer:
            distance = self.emission.clamped(self.tensor.name, self.lanes, first + lane)
            return self.offset(base, distance)
        return self.advance(base, self.lanes, first + lane)

    def column(self, index: Index) -> ir.Value:
        """A vector whose lanes are read one by one."""
        base = self.address(index)
        addresses = [self.row(base, index, lane) for lane in range(self.emission.width)]
        return self.from_memory(self.gather([self.load_run(address, 1) for address in addresses]))

    def gather(self, elements: list[ir.Value]) -> ir.Value:
        """Elements as the lanes of a vector."""
        vector: ir.Value = ir.Constant(ir.VectorType(self.type, len(elements)), ir.Undefined)
        for lane, element in enumerate(elements):
            vector = self.emission.builder.insert_element(vector, element, ir.Constant(I32, lane))
        return vector

    def prefetch(self, index: Index) -> None:
        """A line for each lane that has memory of its own."""
        addresses = [self.place(index)]
        if self.lanes is not None and not self.contiguous:
            base = self.address(index)
            addresses = [self.row(base, index, lane) for lane in range(self.emission.width)]
        for address in addresses:
            ask_for(self.emission.builder, address)
