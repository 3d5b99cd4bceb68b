"""A prefetch that the tiles of a panel share: each asks for a part of the next panel."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from snipjit.ir.expression import Expression
from snipjit.passes.llvm.access import Access
from snipjit.passes.llvm.emission import Emission, Scope
from snipjit.passes.llvm.vector_ir import CACHE_LINE, I64, ask_for, call_intrinsic

MOST_LINES = 2
"""Lines of a block that an iteration asks for: two tiles or more bring all of the next panel."""


def emit_shared_prefetch(emission: Emission, access: Access, e: Expression) -> None:
    """Ask for the next lines of each block of the next panel.

    Of T tiles each iteration asks for 1/T of what it reads itself, rounded up to whole lines, so
    that memory is as busy in the first tile as in the last. A block lies in memory as it is read,
    from where the innermost loop began.
    """
    ahead, tile = e.attrs["ahead"], emission.scope.around
    (summed,) = (axis for axis in access.axes if axis != ahead)
    stride, block = access.stride(summed), access.block
    assert tile is not None
    assert stride is not None
    assert block is not None
    part = _Part(emission, tile, e.attrs["along"], summed, stride * access.bytes)
    offset, pointer = part.offset(), emission.scope.next_panel[access.tensor.name]
    for first in range(0, emission.scope.counts[ahead], block[1]):
        place = access.offset(access.into_blocks(pointer, ahead, first), offset)
        for line in range(min(MOST_LINES, part.lines)):
            address = access.offset(place, ir.Constant(I64, line * CACHE_LINE))
            ask_for(emission.builder, address, near=False)


@dataclass
class _Part:
    """The part of a block that an iteration asks for.

    tile    the scope around the loop that sums
    along   the axis of the tiles
    summed  the axis of that loop
    bytes   what a block has of one element of it
    """

    emission: Emission
    tile: Scope
    along: str
    summed: str
    bytes: int

    @property
    def count(self) -> int:
        """Elements of the summed axis in an iteration."""
        return self.emission.scope.counts[self.summed]

    @property
    def lines(self) -> int:
        """Lines of a block that an iteration reads."""
        return -(-self.count * self.bytes // CACHE_LINE)

    def offset(self) -> ir.Value:
        """Where the part begins, in bytes from the beginning of the block, which ends before."""
        builder, work = self.emission.builder, self._work()
        begin = self.tile.index.get(self.summed, ir.Constant(I64, 0))
        index = builder.sub(self.emission.scope.index[self.summed], begin)
        done = builder.udiv(index, ir.Constant(I64, self.count))
        before = builder.mul(self._tile_number(), _rounded_up(builder, work, self.count))
        place = builder.mul(builder.add(before, done), self._bytes_of_part())
        read = builder.mul(work, ir.Constant(I64, self.bytes))
        last = builder.sub(read, ir.Constant(I64, CACHE_LINE))
        return call_intrinsic(builder, "llvm.umin.i64", I64, [place, last])

    def _work(self) -> ir.Value:
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

    def _bytes_of_part(self) -> ir.Value:
        """Whole lines, computed once a kernel: tasks have as many tiles, or fewer.

        0 where a panel has one tile: that is never done with memory before the panel is.
        """
        emission, entry, step = self.emission, self.emission.entry, self.tile.steps[self.along]
        slot = f"part of {self.lines} lines along {self.along} by {step}"
        if slot not in emission.loaded:
            tiles = _rounded_up(entry, emission.field(f"step.{self.along}"), step)
            more = entry.add(tiles, ir.Constant(I64, self.lines - 1))
            lines = entry.mul(entry.udiv(more, tiles), ir.Constant(I64, CACHE_LINE))
            alone = entry.icmp_signed("<=", tiles, ir.Constant(I64, 1))
            emission.loaded[slot] = entry.select(alone, ir.Constant(I64, 0), lines)
        return emission.loaded[slot]


def _rounded_up(builder: ir.IRBuilder, amount: ir.Value, step: int) -> ir.Value:
    """How many steps cover an amount."""
    more = builder.add(amount, ir.Constant(I64, step - 1))
    return builder.udiv(more, ir.Constant(I64, step))
