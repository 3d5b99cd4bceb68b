"""Load and Store: contiguous lanes, broadcast elements, and lanes that are strided in memory.

A kernel touches no byte outside its tensors. In a masked piece the last vectors may have fewer
valid lanes: contiguous accesses are masked there, strided ones go to the last valid row instead (a
store in falling row order, so that the last row's own values are written last). Buffers are padded
to whole vectors and need neither.
"""

from __future__ import annotations

from math import gcd

from llvmlite import ir

from snipjit.element_types import BYTES, NARROW
from snipjit.linear_ir import Buffer, Expression
from snipjit.passes.llvm.emission import IN_MEMORY, Emission, broadcast
from snipjit.passes.llvm.emit_convert import from_memory, to_memory
from snipjit.passes.llvm.emit_transpose import columns_to_rows, rows_to_columns
from snipjit.passes.llvm.tile import Index, Tile, indices
from snipjit.passes.llvm.vector_ir import I8, I16, I32, I64, call_intrinsic, constant

GROUP = 4
"""Rows whose addresses are one base and three offsets: few registers hold those of a tile."""

CACHE_LINE = 64
"""Bytes that a prefetch brings."""


def emit_load(emission: Emission, e: Expression) -> Tile:
    """The tile of a tensor at its current position."""
    access = _Access(emission, e.inputs[0])
    if emission.lanes not in e.type.axes:
        return Tile(e.type.dtype, e.type.axes, lambda index: access.load_element(index))
    if access.contiguous:
        return Tile(e.type.dtype, e.type.axes, lambda index: access.load_vector(index))
    tile = Tile(e.type.dtype, e.type.axes, lambda index: access.load_block(tile, index))
    return tile


def emit_store(emission: Emission, e: Expression, tile: Tile) -> None:
    """Write a tile to a tensor at its current position."""
    access = _Access(emission, e.inputs[0])
    axes = emission.lir.sort_axes(tuple(access.tensor.axes))
    if emission.lanes not in access.tensor.axes:
        for index in indices(axes, emission.scope.counts):
            access.store_element(index, tile.at(index))
    elif access.contiguous:
        for index in indices(axes, emission.scope.counts):
            access.store_vector(index, emission.operand(tile, index, axes))
    else:
        access.store_blocks(tile, axes)


def emit_prefetch(emission: Emission, e: Expression) -> None:
    """Ask for every cache line of the tile of a tensor at its current position."""
    access = _Access(emission, e.inputs[0])
    counts = dict(emission.scope.counts)
    if access.unit is not None and access.unit != emission.lanes:
        counts[access.unit] = -(-counts.get(access.unit, 1) * access.bytes // CACHE_LINE)
    for index in indices(emission.lir.sort_axes(tuple(access.tensor.axes)), counts):
        access.prefetch(index)


class _Access:
    """One Load or Store: addresses are those of the position where it was created."""

    def __init__(self, emission: Emission, name: str) -> None:
        self.emission = emission
        self.tensor = emission.tensors[name]
        self.pointer = emission.scope.pointers[name]
        self.scope = emission.scope
        self.type = IN_MEMORY[self.tensor.dtype]
        self.bytes = BYTES[self.tensor.dtype]
        self.is_buffer = isinstance(self.tensor, Buffer)
        self.contiguous = self.stride(emission.lanes) == 1
        unit = None if isinstance(self.tensor, Buffer) else self.tensor.unit_axis
        run = gcd(self.scope.counts.get(unit, 1), emission.width) if unit else 1
        self.unit, self.run = unit, run
        # Of what memory holds in 16 bits whole rows are converted: floats transpose faster.
        self.by_rows = run > 1 and self.tensor.dtype in NARROW
        self.groups: dict[tuple[ir.Block, ir.Value, str, int], ir.Value] = {}

    def stride(self, axis: str) -> int | None:
        """Elements between neighbours if known when compiled, None if it comes with the call."""
        if axis not in self.tensor.axes:
            return 0
        if isinstance(self.tensor, Buffer):
            return self.tensor.stride(axis)
        return 1 if axis == self.tensor.unit_axis else None

    def advance(self, pointer: ir.Value, axis: str, count: int) -> ir.Value:
        """The address ``count`` elements further along an axis."""
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
        """The address of a tile's element, lanes axis aside."""
        pointer = self.pointer
        order = sorted(self.tensor.axes, key=lambda axis: self.stride(axis) is not None)
        for axis in order:
            if axis != self.emission.lanes:
                pointer = self.advance(pointer, axis, index.get(axis, 0))
        return pointer

    def is_partial(self, vector: int) -> bool:
        """Whether some lanes of a vector lie beyond the tensor."""
        return self.scope.valid is not None and vector >= self.scope.whole

    # Elements and contiguous vectors.

    def load_element(self, index: Index) -> ir.Value:
        value = self.emission.builder.load(self.address(index), typ=self.type, align=self.bytes)
        return self.from_memory(value)

    def store_element(self, index: Index, value: ir.Value) -> None:
        self.emission.builder.store(self.to_memory(value), self.address(index), align=self.bytes)

    def vector_address(self, index: Index) -> ir.Value:
        lanes = self.emission.lanes
        step = index.get(lanes, 0) * self.emission.width
        return self.advance(self.address(index), lanes, step)

    def load_vector(self, index: Index) -> ir.Value:
        type = ir.VectorType(self.type, self.emission.width)
        address = self.vector_address(index)
        vector = index.get(self.emission.lanes, 0)
        if self.is_buffer or not self.is_partial(vector):
            return self.from_memory(self.emission.builder.load(address, typ=type, align=self.bytes))
        name = f"llvm.masked.load.v{type.count}{_suffix(self.type)}.p0"
        operands = [address, ir.Constant(I32, self.bytes), self.mask(vector), constant(type, 0)]
        return self.from_memory(call_intrinsic(self.emission.builder, name, type, operands))

    def store_vector(self, index: Index, value: ir.Value) -> None:
        value, address = self.to_memory(value), self.vector_address(index)
        vector = index.get(self.emission.lanes, 0)
        if self.is_buffer or not self.is_partial(vector):
            self.emission.builder.store(value, address, align=self.bytes)
            return
        name = f"llvm.masked.store.v{value.type.count}{_suffix(self.type)}.p0"
        operands = [value, address, ir.Constant(I32, self.bytes), self.mask(vector)]
        call_intrinsic(self.emission.builder, name, ir.VoidType(), operands)

    def prefetch(self, index: Index) -> None:
        """A line for each lane that has memory of its own; ``index`` counts lines of the unit."""
        for address in [self.vector_address(index)] if self.contiguous else self.lines(index):
            operands = [address, *(ir.Constant(I32, flag) for flag in (0, 3, 1))]
            call_intrinsic(self.emission.builder, "llvm.prefetch.p0", ir.VoidType(), operands)

    def lines(self, index: Index) -> list[ir.Value]:
        """The addresses of a line in every row of a vector, or in the only one."""
        place, line = dict(index), 0
        if self.unit is not None:
            place[self.unit], line = 0, index.get(self.unit, 0)
        base = self.offset(self.address(place), ir.Constant(I64, line * CACHE_LINE))
        if self.emission.lanes not in self.tensor.axes:
            return [base]
        vector = index.get(self.emission.lanes, 0)
        return [self.row(base, vector, lane) for lane in range(self.emission.width)]

    # Strided lanes.

    def load_block(self, tile: Tile, index: Index) -> ir.Value:
        """Load and transpose the block that holds an element; the whole block enters the tile."""
        lanes, unit, run = self.emission.lanes, self.unit, self.run
        start = dict(index)
        if unit is not None and run > 1:
            start[unit] = index.get(unit, 0) // run * run
        base, vector = self.address(start), index.get(lanes, 0)
        type = self.type if run == 1 else ir.VectorType(self.type, run)
        rows = [
            self.emission.builder.load(self.row(base, vector, lane), typ=type, align=self.bytes)
            for lane in range(self.emission.width)
        ]
        if self.by_rows:
            rows = [self.from_memory(row) for row in rows]
        columns = [self.gather(rows)] if run == 1 else rows_to_columns(self.emission.builder, rows)
        for number, column in enumerate(columns):
            place = {**start, unit: start[unit] + number} if unit and run > 1 else start
            slot = tuple(place.get(axis, 0) for axis in tile.axes)
            tile.made[slot] = column if self.by_rows else self.from_memory(column)
        return tile.made[tuple(index.get(axis, 0) for axis in tile.axes)]

    def store_blocks(self, tile: Tile, axes: tuple[str, ...]) -> None:
        """Transpose and store every block of a tile, the last vectors first if they need it."""
        places = list(indices(axes, self.scope.counts))
        partial = [v for v in range(self.scope.counts.get(axes[-1], 1)) if self.is_partial(v)]
        for index in reversed(places) if len(partial) > 1 else places:
            number = index.get(self.unit, 0) if self.unit else 0
            if number % self.run:
                continue
            columns = []
            for part in range(self.run):
                place = {**index, self.unit: number + part} if self.unit else index
                value = self.emission.operand(tile, place, axes)
                columns.append(value if self.by_rows else self.to_memory(value))
            self.store_block(index, columns)

    def store_block(self, index: Index, columns: list[ir.Value]) -> None:
        builder, vector = self.emission.builder, index.get(self.emission.lanes, 0)
        base = self.address(index)
        if self.run > 1:
            rows = columns_to_rows(builder, columns)
            rows = [self.to_memory(row) for row in rows] if self.by_rows else rows
        else:
            lanes = range(self.emission.width)
            rows = [builder.extract_element(columns[0], ir.Constant(I32, lane)) for lane in lanes]
        for lane in reversed(range(self.emission.width)):
            builder.store(rows[lane], self.row(base, vector, lane), align=self.bytes)

    def row(self, base: ir.Value, vector: int, lane: int) -> ir.Value:
        """The address of one lane; a lane beyond the tensor gets the last valid one's."""
        number = vector * self.emission.width + lane
        if self.is_partial(vector):
            return self.offset(base, self.clamped(number))
        return self.advance(base, self.emission.lanes, number)

    def clamped(self, number: int) -> ir.Value:
        """``min(number, valid - 1)`` rows in bytes, computed once in a masked piece."""
        scope, lanes = self.scope, self.emission.lanes
        assert scope.preamble is not None
        assert scope.valid is not None
        slot = ("row", self.tensor.name, number)
        if slot not in scope.cache:
            stride = self.emission.field(f"stride.{self.tensor.name}.{lanes}")
            last = scope.cache.get("last")
            if last is None:
                last = scope.preamble.sub(scope.valid, ir.Constant(I64, 1))
                scope.cache["last"] = last
            wanted = ir.Constant(I64, number)
            inside = scope.preamble.icmp_signed("<", wanted, last)
            row = scope.preamble.select(inside, wanted, last)
            scope.cache[slot] = scope.preamble.mul(row, stride)
        return scope.cache[slot]

    def gather(self, elements: list[ir.Value]) -> ir.Value:
        vector: ir.Value = ir.Constant(ir.VectorType(self.type, len(elements)), ir.Undefined)
        for lane, element in enumerate(elements):
            vector = self.emission.builder.insert_element(vector, element, ir.Constant(I32, lane))
        return vector

    def mask(self, vector: int) -> ir.Value:
        """The valid lanes of a vector, computed once in a masked piece."""
        scope, width = self.scope, self.emission.width
        assert scope.preamble is not None
        assert scope.valid is not None
        slot = ("mask", vector)
        if slot not in scope.cache:
            rest = scope.preamble.sub(scope.valid, ir.Constant(I64, vector * width))
            wide = broadcast(scope.preamble, scope.preamble.trunc(rest, I32), width)
            lanes = ir.Constant(ir.VectorType(I32, width), list(range(width)))
            scope.cache[slot] = scope.preamble.icmp_signed("<", lanes, wide)
        return scope.cache[slot]

    # Memory may hold other types than registers.

    def from_memory(self, value: ir.Value) -> ir.Value:
        return from_memory(self.emission.builder, self.emission.target, self.tensor.dtype, value)

    def to_memory(self, value: ir.Value) -> ir.Value:
        return to_memory(self.emission.builder, self.emission.target, self.tensor.dtype, value)


def _suffix(type: ir.Type) -> str:
    return "f32" if not isinstance(type, ir.IntType) else f"i{type.width}"
