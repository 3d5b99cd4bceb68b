"""Products and reductions: fma and horizon, within lanes and across them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llvmlite import ir

from snipjit.ir.expression import Expression
from snipjit.ir.loop_nest import streams
from snipjit.ir.operations import MONOIDS
from snipjit.passes.llvm.across import Across, Combine
from snipjit.passes.llvm.arithmetic import fma
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.emit_elementwise import emitter_of
from snipjit.passes.llvm.pairs import fma_pairs
from snipjit.passes.llvm.tile import Index, Tile, indices, steps
from snipjit.passes.llvm.vector_ir import F32, constant, keep_order


def emit_fma(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """Accumulate products; the contracted axes go outermost, as rank-1 updates of the tile.

    In each, the axis of which the tile has most values comes first: what the others share with it
    is used at once, and only what those few have themselves is alive all the time. Where nothing
    is streamed one update ends before the next begins: LLVM would load neighbours in memory, which
    belong to later ones, together, and spill accumulators for them.
    """
    a, b, accumulator = operands
    alone = not streams(emission.lir)
    if "apart" in e.attrs:
        return _emit_apart(emission, e, operands)
    if a.vector is not None and a.vector == b.vector and a.vector in e.over:
        return _emit_dot(emission, e, operands)
    values = {tuple(i.values()): accumulator.at(i) for i in emission.indices(e.type.axes)}
    multiply = fma_pairs if "pairs" in e.attrs else fma
    several = {axis: len({slot[n] for slot in values}) for n, axis in enumerate(e.type.axes)}
    order = tuple(sorted(e.type.axes, key=lambda axis: -several[axis]))
    for step in indices(e.over, emission.scope.counts, steps(None, 1, e.attrs.get("pairs"))):
        for index in emission.indices(order):
            slot, place = tuple(index[axis] for axis in e.type.axes), {**index, **step}
            left, right = (emission.operand(tile, place, e.type.axes) for tile in (a, b))
            values[slot] = multiply(emission.builder, emission.target, left, right, values[slot])
        if alone:
            keep_order(emission.builder)
    return emission.given(e.type, values)


def _emit_dot(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """Products of operands that have the contracted axis in lanes, summed across them."""
    a, b, accumulator = operands
    builder = emission.builder

    def products(places: list[Index]) -> list[ir.Value]:
        return _products(emission, e, a, b, places)

    values = {}
    for index, total in _combined_across(emission, e, products, builder.fadd):
        values[tuple(index.values())] = builder.fadd(accumulator.at(index), total)
    return emission.given(e.type, values)


def _emit_apart(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """Products of operands that have the contracted axis in lanes, added up lane by lane.

    All rows are read side by side: each is a stream of its own, which prefetchers follow.
    """
    a, b, accumulator = operands
    (axis,), rows = e.over, list(emission.indices(e.type.axes))
    values = {tuple(row.values()): accumulator.at(row) for row in rows}
    for step in indices(e.over, emission.scope.counts, {axis: emission.width}):
        for row in rows:
            slot, place = tuple(row.values()), {**row, **step}
            values[slot] = _added(emission, e, (a, b), place, values[slot])
        keep_order(emission.builder)
    return emission.given(e.type, values)


def emit_sum_lanes(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """The sums of lanes that were added up apart."""
    (source,) = operands

    def make(index: Index) -> ir.Value:
        total = Across(emission.builder, emission.builder.fadd)
        total.add(source.at(index))
        return total.element()

    return emission.tile(e.type, make, (source,))


def _products(
    emission: Emission, e: Expression, a: Tile, b: Tile, places: list[Index]
) -> list[ir.Value]:
    """Products added up lane by lane; lanes beyond the end of the axis add nothing.

    All places take a step together: what they share is then in a register for a short time. Memory
    is read in order, row after row: prefetchers lose the way where a scheduler mixes the rows,
    which has cost a quarter of the speed of reading.
    """
    assert a.vector is not None
    zero = constant(ir.VectorType(F32, emission.width), 0.0)
    totals: list[ir.Value] = [zero] * len(places)
    for step in indices(e.over, emission.scope.counts, {a.vector: a.width}):
        for number, place in enumerate(places):
            totals[number] = _added(emission, e, (a, b), {**place, **step}, totals[number])
    keep_order(emission.builder)
    return totals


def _added(
    emission: Emission, e: Expression, factors: tuple[Tile, Tile], place: Index, total: ir.Value
) -> ir.Value:
    """A vector of products added to sums lane by lane; none where the axis has ended."""
    axis, held = factors[0].vector, factors[0].width // emission.width
    assert axis is not None
    multiply = fma_pairs if "pairs" in e.attrs else fma
    left, right = (factor.at(place) for factor in factors)
    more = multiply(emission.builder, emission.target, left, right, total)
    if not emission.is_partial(axis, place[axis], held):
        return more
    return emission.builder.select(emission.mask(axis, place[axis], held), more, total)


def emit_horizon(emission: Emission, e: Expression, operands: list[Tile]) -> Tile:
    """Combine the elements of a tile pairwise, as a tree; those in lanes last, or not at all."""
    source, monoid = operands[0], MONOIDS[e.attrs["monoid"]]
    emitter = emitter_of(monoid.combine)
    by_vectors = steps(source.vector, emission.width)

    def combine(x: ir.Value, y: ir.Value) -> ir.Value:
        return emitter(emission.builder, emission.target, x, y)

    def rows(place: Index, read: Callable[[Index], ir.Value]) -> ir.Value:
        places = ({**place, **step} for step in indices(e.over, emission.scope.counts, by_vectors))
        return _tree([read(at) for at in places], combine)

    if source.vector in e.over:
        read = _valid(emission, source, monoid.identity)
        if emission.vector_axis(e.type.axes) not in (None, *source.axes):
            places = emission.indices(e.type.axes)
            return emission.given(e.type, {tuple(p.values()): rows(p, read) for p in places})
        pairs = _combined_across(
            emission, e, lambda places: [rows(place, read) for place in places], combine
        )
        return emission.given(e.type, {tuple(i.values()): value for i, value in pairs})
    values = {}
    for index in emission.indices(e.type.axes):
        values[tuple(index.values())] = rows(
            index, lambda place: emission.operand(source, place, e.type.axes)
        )
    return emission.given(e.type, values)


def _valid(emission: Emission, tile: Tile, identity: float) -> Callable[[Index], ir.Value]:
    """Reads vectors of a tile, with the identity in lanes beyond the end of the axis."""

    def read(place: Index) -> ir.Value:
        value, axis = tile.at(place), tile.vector
        if axis is None or not emission.is_partial(axis, place[axis]):
            return value
        mask = emission.mask(axis, place[axis])
        return emission.builder.select(mask, value, constant(value.type, identity))

    return read


def _tree(values: list[ir.Value], combine: Combine) -> ir.Value:
    while len(values) > 1:
        odd = values[-1:] if len(values) % 2 else []
        pairs = zip(values[0::2], values[1::2], strict=False)
        values = [combine(x, y) for x, y in pairs] + odd
    return values[0]


def _combined_across(
    emission: Emission,
    e: Expression,
    vectors: Callable[[list[Index]], list[ir.Value]],
    combine: Combine,
) -> Iterator[tuple[dict[str, int], ir.Value]]:
    """The values of a result whose elements are ``vectors``, combined across their lanes.

    The lanes of a result are neighbours along an axis: one is made for all rows of the tile, then
    the next, so that what they share is read once.
    """
    axis, rows = emission.vector_axis(e.type.axes), list(emission.indices(e.type.axes))
    totals = [Across(emission.builder, combine) for _ in rows]
    for lane in range(emission.width) if axis else range(1):
        places: list[Index] = [{**row, axis: row[axis] + lane} if axis else row for row in rows]
        for total, vector in zip(totals, vectors(places), strict=True):
            total.add(vector)
    for row, total in zip(rows, totals, strict=True):
        yield row, total.lanes() if axis else total.element()
