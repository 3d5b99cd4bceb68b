"""The operations on registers: fill, iota, fma, horizon, and the tiles of elementwise ones."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from snipjit.element_types import FLOATS
from snipjit.elementwise import MONOIDS
from snipjit.linear_ir import Expression
from snipjit.passes.llvm.emission import ELEMENTS, Emission, broadcast
from snipjit.passes.llvm.emit_elementwise import EMITTERS
from snipjit.passes.llvm.tile import Index, Tile, given, indices
from snipjit.passes.llvm.vector_ir import I32, I64, constant, fma


def emit_elementwise(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """Element by element; operands without lanes are broadcast to them."""
    emitter = EMITTERS[e.op]

    def make(index: Index) -> ir.Value:
        values = [emission.operand(tile, index, e.type.axes) for tile in operands]
        return emitter(emission.builder, emission.target, *values)

    return Tile(e.type.dtype, e.type.axes, make, operands=tuple(operands))


def emit_fill(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """One constant everywhere."""
    value = e.attrs["value"]
    shape = emission.shape(e.type.dtype, e.type.axes)
    number = constant(shape, float(value) if e.type.dtype in FLOATS else int(value))
    return Tile(e.type.dtype, e.type.axes, lambda index: number)


def emit_iota(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """The position along an axis: the loops' index plus the place in the tile."""
    axis, builder = e.attrs["axis"], emission.builder
    first = emission.scope.index.get(axis, ir.Constant(I64, 0))

    def make(index: Index) -> ir.Value:
        width = emission.width if axis == emission.lanes else 1
        start = builder.add(first, ir.Constant(I64, index.get(axis, 0) * width))
        number = builder.trunc(start, I32)
        if axis != emission.lanes:
            return number
        lanes = ir.Constant(ir.VectorType(I32, width), list(range(width)))
        return builder.add(broadcast(builder, number, width), lanes)

    return Tile(e.type.dtype, e.type.axes, make)


def emit_fma(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """Accumulate products; the contracted axes go outermost, as rank-1 updates of the tile."""
    a, b, accumulator = operands
    counts, axes = emission.scope.counts, e.type.axes
    values = {tuple(i.values()): accumulator.at(i) for i in indices(axes, counts)}
    for step in indices(e.over, counts):
        for index in indices(axes, counts):
            slot, place = tuple(index.values()), {**index, **step}
            left, right = (emission.operand(tile, place, axes) for tile in (a, b))
            values[slot] = fma(emission.builder, emission.target, left, right, values[slot])
    return given(e.type.dtype, axes, values)


def emit_horizon(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """Combine the rows of a tile pairwise, as a tree."""
    combine = EMITTERS[MONOIDS[e.attrs["monoid"]].combine]
    counts = emission.scope.counts
    values = {}
    for index in indices(e.type.axes, counts):
        rows = [operands[0].at({**index, **step}) for step in indices(e.over, counts)]
        while len(rows) > 1:
            pairs = zip(rows[0::2], rows[1::2], strict=False)
            odd = rows[-1:] if len(rows) % 2 else []
            rows = [combine(emission.builder, emission.target, x, y) for x, y in pairs] + odd
        values[tuple(index.values())] = rows[0]
    return given(e.type.dtype, e.type.axes, values)


def emit_scalar(emission: Emission, name: str) -> Tile:
    """A number of the call."""
    value = emission.field(f"scalar.{name}", ELEMENTS["f32"])
    return given("f32", (), {(): value})


OPERATIONS: dict[str, Callable[[Emission, Expression, list[Tile]], Tile]] = {
    "fill": emit_fill,
    "iota": emit_iota,
    "fma": emit_fma,
    "horizon": emit_horizon,
    **dict.fromkeys(EMITTERS, emit_elementwise),
}
