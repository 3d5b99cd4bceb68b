"""The operations on registers, from fill and iota to the tiles of elementwise ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from llvmlite import ir

from snipjit.element_types import FLOATS
from snipjit.linear_ir import Expression, ValueType
from snipjit.passes.llvm.emission import ELEMENTS, Emission
from snipjit.passes.llvm.emit_elementwise import EMITTERS
from snipjit.passes.llvm.emit_reductions import emit_fma, emit_horizon
from snipjit.passes.llvm.pairs import halves, pair
from snipjit.passes.llvm.tile import Index, Tile
from snipjit.passes.llvm.vector_ir import I32, I64, broadcast, constant, lane_numbers


def emit_elementwise(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """Element by element; operands with other lanes than the result's are broadcast to them."""
    emitter = partial(EMITTERS[e.op], emission.builder, emission.target, **e.attrs)

    def make(index: Index) -> ir.Value:
        values = [emission.operand(tile, index, e.type.axes) for tile in operands]
        return emitter(*values)

    return emission.tile(e.type, make, tuple(operands))


def emit_rounding(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """To 16 bits; where pairs are asked for, two neighbours into one element."""
    if e.type.pairs is None:
        return emit_elementwise(emission, e, operands)
    axis, (source,) = e.type.pairs, operands
    side_by_side = emission.vector_axis(e.type.axes, axis) == axis
    distance = emission.width if side_by_side else 1

    def make(index: Index) -> ir.Value:
        here = [{**index, axis: index[axis] + i} for i in (0, distance)]
        first = emission.operand(source, here[0], e.type.axes)
        if emission.scope.counts.get(axis, 1) == 1:
            return pair(emission.builder, first, constant(first.type, 0.0))
        second = emission.operand(source, here[1], e.type.axes)
        return (halves if side_by_side else pair)(emission.builder, first, second)

    return emission.tile(e.type, make, tuple(operands))


def emit_fill(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """One constant everywhere."""
    value = e.attrs["value"]
    shape = emission.shape(e.type.dtype, e.type.axes)
    number = constant(shape, float(value) if e.type.dtype in FLOATS else int(value))
    return emission.tile(e.type, lambda index: number)


def emit_iota(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """The position along an axis: the loops' index plus the place in the tile."""
    axis, builder = e.attrs["axis"], emission.builder
    first = emission.scope.index.get(axis, ir.Constant(I64, 0))
    in_lanes = emission.vector_axis(e.type.axes) == axis

    def make(index: Index) -> ir.Value:
        start = builder.add(first, ir.Constant(I64, index.get(axis, 0)))
        number = builder.trunc(start, I32)
        if not in_lanes:
            return number
        lanes = lane_numbers(tuple(range(emission.width)))
        return builder.add(broadcast(builder, number, emission.width), lanes)

    return emission.tile(e.type, make)


def emit_scalar(emission: Emission, name: str) -> Tile:
    """A number of the call."""
    value = emission.field(f"scalar.{name}", ELEMENTS["f32"])
    return emission.given(ValueType("f32"), {(): value})


OPERATIONS: dict[str, Callable[[Emission, Expression, list[Tile]], Tile]] = {
    "fill": emit_fill,
    "iota": emit_iota,
    "fma": emit_fma,
    "horizon": emit_horizon,
    **dict.fromkeys(EMITTERS, emit_elementwise),
    "to_bf16": emit_rounding,
}
