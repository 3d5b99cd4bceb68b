"""The operations on registers, from fill and iota to the tiles of elementwise ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from llvmlite import ir

from snipjit.ir.expression import Expression, ValueType
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.emit_elementwise import emitter_of
from snipjit.passes.llvm.emit_reductions import emit_fma, emit_horizon, emit_sum_lanes
from snipjit.passes.llvm.pairs import halves, pair
from snipjit.passes.llvm.tile import Index, Tile
from snipjit.passes.llvm.vector_ir import F32, I32, I64, broadcast, constant, lane_numbers


def emit_elementwise(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """Element by element; operands with other lanes than the result's are broadcast to them."""
    emitter = partial(emitter_of(e.op), emission.builder, emission.target, **e.attrs)

    def make(index: Index) -> ir.Value:
        values = [emission.operand(tile, index, e.type.axes) for tile in operands]
        return emitter(*values)

    return emission.tile(e.type, make, tuple(operands))


def emit_pairs(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """A cast that makes pairs: two neighbours, rounded, into one element."""
    axis, (source,) = e.type.pairs, operands
    assert axis is not None
    side_by_side = emission.vector_axis(e.type.axes, axis) == axis
    distance, join = (emission.width, halves) if side_by_side else (1, pair)

    def make(index: Index) -> ir.Value:
        here = [{**index, axis: index[axis] + i} for i in (0, distance)]
        first = emission.operand(source, here[0], e.type.axes)
        if emission.scope.counts.get(axis, 1) == 1:
            return pair(emission.builder, emission.target, first, constant(first.type, 0.0))
        second = emission.operand(source, here[1], e.type.axes)
        return join(emission.builder, emission.target, first, second)

    return emission.tile(e.type, make, tuple(operands))


def emit_fill(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """One constant everywhere."""
    value = e.attrs["value"]
    shape = emission.shape(e.type.dtype, e.type.axes)
    if "apart" in e.attrs:
        shape = ir.VectorType(shape, emission.width)
    number = constant(shape, float(value) if e.type.element.register == "f32" else int(value))
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
    value = emission.field(f"scalar.{name}", F32)
    return emission.given(ValueType("f32"), {(): value})


OPERATIONS: dict[str, Callable[[Emission, Expression, list[Tile]], Tile]] = {
    "fill": emit_fill,
    "iota": emit_iota,
    "fma": emit_fma,
    "sum_lanes": emit_sum_lanes,
    "horizon": emit_horizon,
}
"""All but the elementwise functions."""


def emit_operation(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """The tile of an operation on registers."""
    if e.op in OPERATIONS:
        return OPERATIONS[e.op](emission, e, operands)
    return (emit_elementwise if e.type.pairs is None else emit_pairs)(emission, e, operands)
