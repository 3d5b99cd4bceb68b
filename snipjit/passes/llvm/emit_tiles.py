"""Tile registers: x86's AMX, two-dimensional registers of 16 rows of 64 bytes.

``tdpbf16ps c, a, b`` adds to 16x16 sums the products of pairs: row i of ``a`` holds 16 pairs, row
k of ``b`` the k-th pair of each column. LLVM does not allocate these registers here: Expressions
say which they take. All have their full size, which is configured when a worker begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from llvmlite import ir

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.tensors import Buffer, Tensor
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.instructions import instruction
from snipjit.passes.llvm.tile import Tile
from snipjit.passes.llvm.vector_ir import I8, I64, call_intrinsic
from snipjit.target.tile_configuration import SIDE, configuration


@dataclass
class HeldTile(Tile):
    """A value in tile registers: no LLVM value stands for any of its elements."""

    registers: tuple[int, ...] = ()

    def indices(self, counts: Mapping[str, int]) -> Iterator[dict[str, int]]:
        """None."""
        return iter(())


def uses_tiles(lir: LinearIR) -> bool:
    """Whether anything in a kernel is held in tile registers."""
    return any("registers" in e.attrs for e in lir.expressions())


def configure(builder: ir.IRBuilder) -> None:
    """Give every register all of its rows and bytes."""
    content = bytearray(configuration())
    type = ir.ArrayType(I8, len(content))
    place = builder.alloca(type)
    place.align = 64
    builder.store(ir.Constant(type, content), place)
    call_intrinsic(builder, "llvm.x86.ldtilecfg", ir.VoidType(), [place])


def release(builder: ir.IRBuilder) -> None:
    """Give the registers back, so that switching threads does not save them."""
    call_intrinsic(builder, "llvm.x86.tilerelease", ir.VoidType(), [])


def emit_in_tiles(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """A fill with zero, a load or a product whose value tile registers hold."""
    registers = tuple(e.attrs["registers"])
    if e.op == "fill":
        for register in registers:
            _call(emission, "tile zero", register)
    elif e.op == "load":
        for register, address, stride in _parts(emission, e, registers):
            _call(emission, "tile load", register, address, stride)
    else:
        _multiply(emission, registers, operands)
    return _held(emission, e, registers)


def emit_tile_store(emission: Emission, e: Expression) -> None:
    """Write the registers of a value to its buffer."""
    for register, address, stride in _parts(emission, e, tuple(e.attrs["registers"])):
        _call(emission, "tile store", register, address, stride)


def _held(emission: Emission, e: Expression, registers: tuple[int, ...]) -> HeldTile:
    def missing(index: object) -> ir.Value:
        raise KeyError(f"%{e.output} is in tile registers")

    return HeldTile(e.type.dtype, e.type.axes, missing, registers=registers)


def _multiply(emission: Emission, sums: tuple[int, ...], operands: list[Tile]) -> None:
    a, b = (tile.registers for tile in operands[:2] if isinstance(tile, HeldTile))
    for number, register in enumerate(sums):
        row, column = divmod(number, len(b))
        _call(emission, "tile dot", register, a[row], b[column])


def _parts(
    emission: Emission, e: Expression, registers: tuple[int, ...]
) -> Iterator[tuple[int, ir.Value, ir.Value]]:
    """Each register of a move with the address of its first row and the bytes between rows.

    The value is a block of rows by columns of 32 bits, register by register along its rows.
    """
    name, counts = e.inputs[0], emission.scope.counts
    rows, columns = _rows_and_columns(emission.lir, e, counts)
    side = SIDE * (2 if e.type.pairs == rows else 1)
    across = max(counts.get(columns, 1) // (SIDE * (2 if e.type.pairs == columns else 1)), 1)
    stride = _stride(emission, name, rows, 2 if e.type.pairs == rows else 1)
    builder = emission.builder
    for number, register in enumerate(registers):
        row, column = divmod(number, across)
        address = emission.scope.pointers[name]
        for axis, count in ((rows, row * side), (columns, column * SIDE)):
            distance = _stride(emission, name, axis, count)
            address = builder.gep(address, [distance], source_etype=I8)
        yield register, address, stride


def _rows_and_columns(lir: LinearIR, e: Expression, counts: Mapping[str, int]) -> tuple[str, str]:
    """The axes along the rows and the columns of registers: lanes, or else pairs, are columns."""
    lanes = lir.lanes[-1]
    columns = lanes if lanes in e.type.axes else e.type.pairs
    assert columns is not None
    rows = [axis for axis in e.type.axes if axis != columns and counts.get(axis, 1) > 1]
    return rows[0], columns


def _stride(emission: Emission, name: str, axis: str, count: int) -> ir.Value:
    """Bytes to the element that is ``count`` further along an axis."""
    tensor: Tensor | Buffer = emission.tensors[name]
    size = tensor.element.bytes
    if isinstance(tensor, Buffer):
        return ir.Constant(I64, tensor.stride(axis) * count * size)
    stride = emission.stride(name, axis)
    if isinstance(stride, ir.Constant):
        return ir.Constant(I64, int(stride.constant) * count)
    return stride if count == 1 else emission.builder.mul(stride, ir.Constant(I64, count))


def _call(emission: Emission, name: str, register: int, *operands: ir.Value | int) -> None:
    text = instruction(emission.target, name, ir.IntType(8))
    assert text is not None, f"{emission.target.name} has no {name}"
    text(emission.builder, register, *operands)
