"""Access: the addresses of one move, and elements and contiguous lanes.

A kernel touches no byte outside its tensors. In a masked piece the last vectors may have fewer
valid lanes: contiguous accesses are masked there, strided ones (``strided_access.py``) go to the
last valid row instead. Buffers are padded to whole vectors and need neither.
"""

from __future__ import annotations

from llvmlite import ir

from snipjit.ir.tensors import Buffer
from snipjit.passes.llvm.emission import Emission, elements_per_lane
from snipjit.passes.llvm.emit_convert import from_memory, in_memory, to_memory
from snipjit.passes.llvm.tile import Index, Tile
from snipjit.passes.llvm.vector_ir import (
    I8,
    I16,
    I32,
    I64,
    broadcast,
    call_intrinsic,
    constant,
    type_suffix,
)

ROWS_PER_BASE = 4
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
        self.type = in_memory(self.tensor.element)
        self.bytes = self.tensor.element.bytes
        self.is_buffer = isinstance(self.tensor, Buffer)
        self.block = None if isinstance(self.tensor, Buffer) else self.tensor.block
        self.contiguous = self.lanes is not None and self.stride(self.lanes) == 1
        self.unit = self.unit_axis()
        self.pairs = pairs
        self.bases: dict[tuple[ir.Block, ir.Value, str, int], ir.Value] = {}

    def unit_axis(self) -> str | None:
        """The axis whose neighbours are neighbours in memory; of buffers, where it is not lanes."""
        if isinstance(self.tensor, Buffer):
            innermost = self.tensor.axes[-1] if self.tensor.axes else None
            return innermost if self.lanes is not None and innermost != self.lanes else None
        return self.tensor.unit_axis

    def is_index(self, axis: str) -> bool:
        """Whether the tensor is read by index along an axis."""
        return self.tensor.is_index(axis)

    def stride(self, axis: str) -> int | None:
        """Elements between neighbours if known when compiled, None if it comes with the call."""
        if axis not in self.tensor.axes:
            return 0
        if isinstance(self.tensor, Buffer):
            return self.tensor.stride(axis)
        return 1 if axis == self.tensor.unit_axis else self.tensor.increment(axis)

    def advance(self, pointer: ir.Value, axis: str, count: int) -> ir.Value:
        """The address ``count`` elements further along an axis, within the tensor."""
        if self.is_index(axis):
            return self.offset(pointer, self.emission.indexed(self.tensor.name, axis, count))
        if self.emission.is_partial(axis, count) and axis != self.lanes and not self.is_buffer:
            return self.offset(pointer, self.emission.clamped(self.tensor.name, axis, count))
        if count == 0:
            return pointer
        if self.block and axis == self.block[0]:
            return self.into_blocks(pointer, axis, count)
        stride = self.stride(axis)
        if stride is not None:
            return self.offset(pointer, ir.Constant(I64, stride * count * self.bytes))
        number, rest = divmod(count, ROWS_PER_BASE)
        pointer = self.base_of_rows(pointer, axis, number)
        if rest == 2:  # base + 2 * stride is an address that needs no instruction
            return self.emission.builder.gep(pointer, [self.strides(axis, 1)], source_etype=I16)
        return self.offset(pointer, self.strides(axis, rest)) if rest else pointer

    def into_blocks(self, pointer: ir.Value, axis: str, count: int) -> ir.Value:
        """The address of an element from the beginning of a block."""
        assert self.block is not None
        blocks, rest = divmod(count, self.block[1])
        if blocks:
            pointer = self.offset(pointer, self.strides(axis, blocks * self.block[1]))
        return self.offset(pointer, ir.Constant(I64, rest * self.bytes)) if rest else pointer

    def base_of_rows(self, pointer: ir.Value, axis: str, number: int) -> ir.Value:
        """The base of some rows: the address of each is made from the one before."""
        if number == 0:
            return pointer
        slot = (self.emission.builder.block, pointer, axis, number)
        if slot not in self.bases:
            before = self.base_of_rows(pointer, axis, number - 1)
            self.bases[slot] = self.offset(before, self.strides(axis, ROWS_PER_BASE))
        return self.bases[slot]

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
        if self.lanes is None or self.is_buffer or (self.block and self.block[0] == self.lanes):
            return False
        first = index.get(self.lanes, 0)
        held = elements_per_lane(self.lanes, self.pairs)
        return self.emission.is_partial(self.lanes, first, held)

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
        return self.emission.mask(self.lanes, first, elements_per_lane(self.lanes, self.pairs))

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
        name = f"llvm.masked.load.v{count}{type_suffix(self.type)}.p0"
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
        name = f"llvm.masked.store.v{value.type.count}{type_suffix(self.type)}.p0"
        operands = [value, address, ir.Constant(I32, self.bytes), self.mask(index)]
        call_intrinsic(self.emission.builder, name, ir.VoidType(), operands)

    # Memory may hold other types than registers.

    def from_memory(self, value: ir.Value) -> ir.Value:
        """What a register holds for a value in memory."""
        return from_memory(self.emission.builder, self.emission.target, self.tensor.dtype, value)

    def to_memory(self, value: ir.Value) -> ir.Value:
        """What memory holds for a value in a register."""
        return to_memory(self.emission.builder, self.emission.target, self.tensor.dtype, value)
