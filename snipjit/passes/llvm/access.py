"""Access: the addresses of one move, and contiguous, broadcast and strided lanes.

A kernel touches no byte outside its tensors. In a masked piece the last vectors may have fewer
valid lanes: contiguous accesses are masked there, strided ones go to the last valid row instead (a
store in falling row order, so that the last row's own values are written last). Buffers are padded
to whole vectors and need neither.
"""

from __future__ import annotations

from math import gcd

from llvmlite import ir

from snipjit.element_types import BYTES, NARROW
from snipjit.passes.llvm.emission import IN_MEMORY, Emission, held
from snipjit.passes.llvm.emit_convert import from_memory, to_memory
from snipjit.passes.llvm.emit_transpose import columns_to_rows, rows_to_columns
from snipjit.passes.llvm.tile import Index, Tile
from snipjit.passes.llvm.vector_ir import (
    I8,
    I16,
    I32,
    I64,
    broadcast,
    call_intrinsic,
    constant,
    pick,
)
from snipjit.tensors import Buffer

GROUP = 4
"""Rows whose addresses are one base and three offsets: few registers hold those of a tile."""


class Access:
    """One Load or Store: addresses are those of the position where it was created."""

    def __init__(self, emission: Emission, name: str, pairs: str | None = None) -> None:
        self.emission = emission
        self.tensor = emission.tensors[name]
        self.axes = emission.lir.sort_axes(self.tensor.axes)
        self.lanes = emission.vector_axis(self.axes, pairs)
        self.pointer = emission.scope.pointers[name]
        self.scope = emission.scope
        self.type = IN_MEMORY[self.tensor.dtype]
        self.bytes = BYTES[self.tensor.dtype]
        self.is_buffer = isinstance(self.tensor, Buffer)
        self.contiguous = self.lanes is not None and self.stride(self.lanes) == 1
        self.unit = self.unit_axis()
        count = self.scope.counts.get(self.unit, 1) if self.unit else 1
        self.run = gcd(count, emission.width)
        self.held = 1
        self.pairs = pairs
        # Of what memory holds in 16 bits whole rows are converted: floats transpose faster.
        self.by_rows = self.run > 1 and self.tensor.dtype in NARROW
        self.groups: dict[tuple[ir.Block, ir.Value, str, int], ir.Value] = {}

    def unit_axis(self) -> str | None:
        """The axis whose neighbours are neighbours in memory; of buffers, where it is not lanes."""
        if isinstance(self.tensor, Buffer):
            innermost = self.tensor.axes[-1] if self.tensor.axes else None
            return innermost if self.lanes is not None and innermost != self.lanes else None
        return self.tensor.unit_axis

    def stride(self, axis: str) -> int | None:
        """Elements between neighbours if known when compiled, None if it comes with the call."""
        if axis not in self.tensor.axes:
            return 0
        if isinstance(self.tensor, Buffer):
            return self.tensor.stride(axis)
        return 1 if axis == self.tensor.unit_axis else None

    def advance(self, pointer: ir.Value, axis: str, count: int) -> ir.Value:
        """The address ``count`` elements further along an axis, within the tensor."""
        if self.emission.is_partial(axis, count) and axis != self.lanes and not self.is_buffer:
            return self.offset(pointer, self.emission.clamped(self.tensor.name, axis, count))
        if count == 0:
            return pointer
        stride = self.stride(axis)
        if stride is not None:
            return self.offset(pointer, ir.Constant(I64, stride * count * self.bytes))
        group, rest = divmod(count, GROUP)
        pointer = self.group(pointer, axis, group)
        if rest == 2:  # base + 2 * stride is an address that needs no instruction
            return self.emission.builder.gep(pointer, [self.strides(axis, 1)], source_etype=I16)
        return self.offset(pointer, self.strides(axis, rest)) if rest else pointer

    def group(self, pointer: ir.Value, axis: str, number: int) -> ir.Value:
        """The address some groups of rows further, each from the one before."""
        if number == 0:
            return pointer
        slot = (self.emission.builder.block, pointer, axis, number)
        if slot not in self.groups:
            before = self.group(pointer, axis, number - 1)
            self.groups[slot] = self.offset(before, self.strides(axis, GROUP))
        return self.groups[slot]

    def strides(self, axis: str, count: int) -> ir.Value:
        """A multiple of a run-time stride in bytes, computed once a kernel."""
        field = self.emission.field(f"stride.{self.tensor.name}.{axis}")
        slot = f"stride.{self.tensor.name}.{axis} x {count}"
        if count > 1 and slot not in self.emission.loaded:
            product = self.emission.entry.mul(field, ir.Constant(I64, count))
            self.emission.loaded[slot] = product
        return self.emission.loaded[slot] if count > 1 else field

    def offset(self, pointer: ir.Value, distance: ir.Value) -> ir.Value:
        """The address some bytes further."""
        return self.emission.builder.gep(pointer, [distance], source_etype=I8)

    def address(self, index: Index) -> ir.Value:
        """The address of a tile's element, the axis in lanes aside."""
        pointer = self.pointer
        order = sorted(self.tensor.axes, key=lambda axis: self.stride(axis) is not None)
        for axis in order:
            if axis != self.lanes:
                pointer = self.advance(pointer, axis, index.get(axis, 0))
        return pointer

    def place(self, index: Index) -> ir.Value:
        """The address of a tile's element; in lanes, of the first one of a vector."""
        address = self.address(index)
        number = index.get(self.lanes, 0) if self.lanes else 0
        return self.advance(address, self.lanes, number) if self.lanes else address

    def is_masked(self, index: Index) -> bool:
        """Whether some lanes of a contiguous vector lie beyond the tensor."""
        if self.lanes is None or self.is_buffer:
            return False
        first = index.get(self.lanes, 0)
        return self.emission.is_partial(self.lanes, first, held(self.lanes, self.pairs))

    def has_one_lane(self, index: Index) -> bool:
        """Whether a masked vector is known to have but its first element."""
        assert self.lanes is not None
        valid = self.emission.scope.valid[self.lanes]
        first = index.get(self.lanes, 0)
        return isinstance(valid, ir.Constant) and valid.constant - first == 1

    def mask(self, index: Index) -> ir.Value:
        """The valid lanes of a vector."""
        assert self.lanes is not None
        first = index.get(self.lanes, 0)
        return self.emission.mask(self.lanes, first, held(self.lanes, self.pairs))

    # Elements and contiguous vectors.

    def load_element(self, index: Index) -> ir.Value:
        """One element."""
        value = self.emission.builder.load(self.place(index), typ=self.type, align=self.bytes)
        return self.from_memory(value)

    def load_splat(self, index: Index) -> ir.Value:
        """An element in every lane, broadcast as it lies in memory and then converted."""
        value = self.emission.builder.load(self.place(index), typ=self.type, align=self.bytes)
        return self.from_memory(broadcast(self.emission.builder, value, self.emission.width))

    def store_element(self, index: Index, value: ir.Value) -> None:
        """Write one element."""
        self.emission.builder.store(self.to_memory(value), self.place(index), align=self.bytes)

    def load_vectors(self, tile: Tile, index: Index) -> ir.Value:
        """Neighbours in lanes; others that come along enter the tile."""
        return self.load_vector(index)

    def load_vector(self, index: Index) -> ir.Value:
        """Neighbours in lanes."""
        mask = self.mask(index) if self.is_masked(index) else None
        return self.from_memory(self.load_run(self.place(index), self.emission.width, mask))

    def load_run(self, address: ir.Value, count: int, mask: ir.Value | None = None) -> ir.Value:
        """Neighbours in memory as a vector, where the mask is set; one is no vector."""
        type = self.type if count == 1 else ir.VectorType(self.type, count)
        if mask is None:
            return self.emission.builder.load(address, typ=type, align=self.bytes)
        name = f"llvm.masked.load.v{count}{_suffix(self.type)}.p0"
        operands = [address, ir.Constant(I32, self.bytes), mask, constant(type, 0)]
        return call_intrinsic(self.emission.builder, name, type, operands)

    def store_vector(self, index: Index, value: ir.Value) -> None:
        """Write neighbours in lanes."""
        value, address = self.to_memory(value), self.place(index)
        if not self.is_masked(index):
            self.emission.builder.store(value, address, align=self.bytes)
            return
        if self.has_one_lane(index):
            # LLVM 22 would store 32 bits where a vector was truncated to less.
            first = self.emission.builder.extract_element(value, ir.Constant(I32, 0))
            self.emission.builder.store(first, address, align=self.bytes)
            return
        name = f"llvm.masked.store.v{value.type.count}{_suffix(self.type)}.p0"
        operands = [value, address, ir.Constant(I32, self.bytes), self.mask(index)]
        call_intrinsic(self.emission.builder, name, ir.VoidType(), operands)

    def prefetch(self, index: Index) -> None:
        """A line for each lane that has memory of its own."""
        addresses = [self.place(index)]
        if self.lanes is not None and not self.contiguous:
            base = self.address(index)
            addresses = [self.row(base, index, lane) for lane in range(self.emission.width)]
        for address in addresses:
            operands = [address, *(ir.Constant(I32, flag) for flag in (0, 3, 1))]
            call_intrinsic(self.emission.builder, "llvm.prefetch.p0", ir.VoidType(), operands)

    # Strided lanes.

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
        if self.emission.is_partial(self.lanes, first) and not self.is_buffer:
            distance = self.emission.clamped(self.tensor.name, self.lanes, first + lane)
            return self.offset(base, distance)
        return self.advance(base, self.lanes, first + lane)

    def gather(self, elements: list[ir.Value]) -> ir.Value:
        """Elements as the lanes of a vector."""
        vector: ir.Value = ir.Constant(ir.VectorType(self.type, len(elements)), ir.Undefined)
        for lane, element in enumerate(elements):
            vector = self.emission.builder.insert_element(vector, element, ir.Constant(I32, lane))
        return vector

    # Memory may hold other types than registers.

    def from_memory(self, value: ir.Value) -> ir.Value:
        """What a register holds for a value in memory."""
        return from_memory(self.emission.builder, self.emission.target, self.tensor.dtype, value)

    def to_memory(self, value: ir.Value) -> ir.Value:
        """What memory holds for a value in a register."""
        return to_memory(self.emission.builder, self.emission.target, self.tensor.dtype, value)


def _suffix(type: ir.Type) -> str:
    return "f32" if not isinstance(type, ir.IntType) else f"i{type.width}"
