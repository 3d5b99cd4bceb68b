"""Emission: what every emitter shares: the builder, the call's fields, the scope of the loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from llvmlite import ir

from snipjit.call_args import CallArgs
from snipjit.linear_ir import Buffer, LinearIR, Tensor
from snipjit.passes.llvm.tile import Tile
from snipjit.passes.llvm.vector_ir import F32, I1, I8, I16, I32, I64
from snipjit.target_machine import TargetMachine

POINTER = ir.PointerType()
ELEMENTS = {"f32": F32, "bf16": F32, "f16": F32, "i1": I1, "i32": I32}
IN_MEMORY = {"f32": F32, "bf16": I16, "f16": I16, "i1": I8, "i32": I32}


@dataclass
class Scope:
    """What the loops around the current position have fixed."""

    counts: dict[str, int] = field(default_factory=dict)
    """Elements of each axis in a tile; vectors for the lanes axis."""
    index: dict[str, ir.Value] = field(default_factory=dict)
    """The first element of the tile or block along each axis (i64)."""
    work: dict[str, ir.Value] = field(default_factory=dict)
    """Elements of the current block along each axis (i64): the work amount of an inner loop."""
    valid: ir.Value | None = None
    """In a masked piece, how many elements of the lanes axis there are (i64)."""
    whole: int = 0
    """How many vectors of the lanes axis a masked piece always fills."""
    pointers: dict[str, ir.Value] = field(default_factory=dict)
    """Address of each tensor at the current position."""
    registers: dict[str, Tile] = field(default_factory=dict)
    preamble: ir.IRBuilder | None = None
    """Where to put what is needed throughout the piece, before its loops."""
    cache: dict[object, ir.Value] = field(default_factory=dict)
    """What stands in the preamble already."""

    def inner(self) -> Scope:
        """A copy for the body of a loop; the preamble and its cache are shared, splats are not."""
        return replace(
            self,
            counts=dict(self.counts),
            index=dict(self.index),
            work=dict(self.work),
            pointers=dict(self.pointers),
            registers={name: replace(t, splats={}) for name, t in self.registers.items()},
        )


@dataclass
class Emission:
    """The state of one kernel's emission."""

    lir: LinearIR
    target: TargetMachine
    builder: ir.IRBuilder
    arguments: ir.Value
    entry: ir.IRBuilder
    fields: CallArgs
    scope: Scope = field(default_factory=Scope)
    tensors: Mapping[str, Tensor | Buffer] = field(default_factory=dict)
    loaded: dict[str, ir.Value] = field(default_factory=dict)
    pending: list[tuple[str, Tile, Scope]] = field(default_factory=list)
    """Loads in the order of the IR; a later store makes those that are not emitted yet happen."""

    @property
    def lanes(self) -> str:
        """The vectorised axis."""
        return self.lir.lanes

    @property
    def width(self) -> int:
        """Elements of a vector."""
        return self.lir.width

    def field(self, name: str, type: ir.Type = I64) -> ir.Value:
        """A field of the call structure, loaded once at the head of the kernel."""
        if name not in self.loaded:
            self.loaded[name] = self.entry.load(self.field_address(self.entry, name), typ=type)
        return self.loaded[name]

    def field_address(self, builder: ir.IRBuilder, name: str) -> ir.Value:
        """The address of a field."""
        offset = ir.Constant(I64, 8 * self.fields.slot(name))
        return builder.gep(self.arguments, [offset], source_etype=I8)

    def shape(self, dtype: str, axes: tuple[str, ...]) -> ir.Type:
        """The LLVM type of one element of a tile: a vector if the tile has the lanes axis."""
        element = ELEMENTS[dtype]
        return ir.VectorType(element, self.width) if self.lanes in axes else element

    def splat(self, tile: Tile, index: Mapping[str, int]) -> ir.Value:
        """The element of a tile without lanes, in every lane."""
        slot = tuple(index.get(axis, 0) for axis in tile.axes)
        if slot not in tile.splats:
            tile.splats[slot] = broadcast(self.builder, tile.at(index), self.width)
        return tile.splats[slot]

    def operand(self, tile: Tile, index: Mapping[str, int], axes: tuple[str, ...]) -> ir.Value:
        """The operand of an operation whose result has ``axes``: a vector if those hold lanes."""
        if self.lanes in axes and self.lanes not in tile.axes:
            return self.splat(tile, index)
        return tile.at(index)


def broadcast(builder: ir.IRBuilder, value: ir.Value, width: int) -> ir.Value:
    """A scalar in every lane of a vector."""
    vector = ir.VectorType(value.type, width)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, width), [0] * width)
    return builder.shuffle_vector(first, undefined, zeros)
