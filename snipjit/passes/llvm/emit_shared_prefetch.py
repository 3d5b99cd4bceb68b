"""A prefetch that the tiles of a panel share: each asks for a part of the next panel."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from snipjit.ir.expression import Expression
from snipjit.passes.llvm.access import Access
from snipjit.passes.llvm.emission import Emission, Scope
from snipjit.passes.llvm.vector_ir import CACHE_LINE, I64, ask_for, call_intrinsic

MOST = 2
"""Lines of a block, or rows of a matrix, that an iteration asks for: two tiles or more bring all of
the next panel; of rows that lie across half as many tiles as a panel has of these."""


def emit_shared_prefetch(emission: Emission, access: Access, e: Expression) -> None:
    """Ask for the next lines of each block or row of the next panel, or for its next rows.

    Of T tiles each iteration asks for 1/T of what it reads itself, rounded up to whole lines or
    rows, so that memory is as busy in the first tile as in the last. What lies in blocks is in
    memory as it is read, from where the innermost loop began.
    """
    ahead, tile = e.attrs["ahead"], emission.scope.around
    plans = emission.lir.plans
    (summed,) = (axis for axis in access.axes if plans[axis].role == "contraction")
    assert tile is not None
    part = _Part(emission, tile, e.attrs["along"], summed)
    if access.block is not None:
        _ask_for_lines(access, part, ahead)
    elif emission.lir.tensors[access.tensor.name].has_panels(ahead):
        _ask_along_rows(access, part, ahead)
    else:
        _ask_for_rows(access, part, ahead)


def _ask_for_lines(access: Access, part: _Part, ahead: str) -> None:
    """Lines of each block, which ends before the next part would begin."""
    stride, block = access.stride(part.summed), access.block
    assert stride is not None
    assert block is not None
    builder, bytes = part.emission.builder, stride * access.bytes
    lines = -(-part.count * bytes // CACHE_LINE)
    begin = builder.mul(part.first(lines), ir.Constant(I64, CACHE_LINE))
    read = builder.mul(part.work(), ir.Constant(I64, bytes))
    last = builder.sub(read, ir.Constant(I64, CACHE_LINE))
    offset = call_intrinsic(builder, "llvm.umin.i64", I64, [begin, last])
    pointer = part.emission.scope.next_panel[access.tensor.name]
    for first in range(0, part.emission.scope.counts[ahead], block[1]):
        place = access.offset(access.into_blocks(pointer, ahead, first), offset)
        for line in range(min(MOST, lines)):
            address = access.offset(place, ir.Constant(I64, line * CACHE_LINE))
            ask_for(builder, address, near=False)


def _ask_for_rows(access: Access, part: _Part, ahead: str) -> None:
    """Rows of a matrix, beside those of this panel."""
    builder, begin = part.emission.builder, part.first(part.count)
    last = builder.sub(part.work(), ir.Constant(I64, 1))
    pointer = part.tile.pointers[access.tensor.name]
    panel = part.emission.scope.counts[ahead] * access.bytes
    for number in range(min(MOST, part.count)):
        row = builder.add(begin, ir.Constant(I64, number))
        row = call_intrinsic(builder, "llvm.umin.i64", I64, [row, last])
        place = access.offset(pointer, builder.mul(row, access.strides(part.summed, 1)))
        for byte in range(panel, 2 * panel, CACHE_LINE):
            ask_for(builder, access.offset(place, ir.Constant(I64, byte)), near=False)


def _ask_along_rows(access: Access, part: _Part, ahead: str) -> None:
    """Some rows of the next panel, as far along as the sum is."""
    builder, bytes = part.emission.builder, ir.Constant(I64, access.bytes)
    first = part.first_of_tile(part.emission.scope.counts[ahead])
    pointer = part.emission.scope.next_panel[access.tensor.name]
    pointer = access.offset(pointer, builder.mul(part.summed_before(), bytes))
    for number in range(MOST):
        row = builder.add(first, ir.Constant(I64, number))
        place = access.offset(pointer, builder.mul(row, access.strides(ahead, 1)))
        ask_for(builder, place, near=False)


@dataclass
class _Part:
    """The part that an iteration asks for.

    tile    the scope around the loop that sums
    along   the axis of the tiles
    summed  the axis of that loop
    """

    emission: Emission
    tile: Scope
    along: str
    summed: str

    @property
    def count(self) -> int:
        """Elements of the summed axis in an iteration."""
        return self.emission.scope.counts[self.summed]

    def first(self, units: int) -> ir.Value:
        """The first line or row of the part, where an iteration reads so many."""
        builder = self.emission.builder
        done = builder.udiv(self.summed_before(), ir.Constant(I64, self.count))
        before = builder.mul(self._tile_number(), _rounded_up(builder, self.work(), self.count))
        return builder.mul(builder.add(before, done), self._size(units))

    def first_of_tile(self, units: int) -> ir.Value:
        """The first of the units that a tile asks for all along, where a panel has so many."""
        return self.emission.builder.mul(self._tile_number(), self._size(units))

    def summed_before(self) -> ir.Value:
        """Elements of the summed axis before this iteration, in the loop that sums."""
        begin = self.tile.index.get(self.summed, ir.Constant(I64, 0))
        return self.emission.builder.sub(self.emission.scope.index[self.summed], begin)

    def work(self) -> ir.Value:
        """Elements of the summed axis that the loop goes over."""
        if self.summed in self.tile.work:
            return self.tile.work[self.summed]
        size = self.emission.lir.axes[self.summed]
        return ir.Constant(I64, size) if size else self.emission.field(f"size.{self.summed}")

    def _tile_number(self) -> ir.Value:
        """How many tiles of the panel were before this one."""
        builder, around = self.emission.builder, self.tile.around
        assert around is not None
        first = around.index.get(self.along, ir.Constant(I64, 0))
        rows = builder.sub(self.tile.index[self.along], first)
        return _rounded_up(builder, rows, self.tile.steps[self.along])

    def _size(self, units: int) -> ir.Value:
        """Lines or rows of a part, computed once a kernel: tasks have as many tiles, or fewer.

        0 where a panel has one tile: that is never done with memory before the panel is.
        """
        emission, entry, step = self.emission, self.emission.entry, self.tile.steps[self.along]
        slot = f"part of {units} units along {self.along} by {step}"
        if slot not in emission.loaded:
            tiles = _rounded_up(entry, emission.field(f"step.{self.along}"), step)
            more = entry.add(tiles, ir.Constant(I64, units - 1))
            alone = entry.icmp_signed("<=", tiles, ir.Constant(I64, 1))
            size = entry.udiv(more, tiles)
            emission.loaded[slot] = entry.select(alone, ir.Constant(I64, 0), size)
        return emission.loaded[slot]


def _rounded_up(builder: ir.IRBuilder, amount: ir.Value, step: int) -> ir.Value:
    """How many steps cover an amount."""
    more = builder.add(amount, ir.Constant(I64, step - 1))
    return builder.udiv(more, ir.Constant(I64, step))
