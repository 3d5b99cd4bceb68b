"""A prefetch that the tiles of a panel share: each asks for a part of the next panel."""

from __future__ import annotations

from llvmlite import ir

from snipjit.ir.expression import Expression
from snipjit.passes.llvm.access import Access
from snipjit.passes.llvm.emission import Emission, Scope
from snipjit.passes.llvm.vector_ir import I8, I64, ask_for, call_intrinsic

CACHE_LINE = 64
MOST_LINES = 2
"""Lines of a block that an iteration asks for: two tiles or more bring all of the next panel."""


def emit_shared_prefetch(emission: Emission, access: Access, e: Expression) -> None:
    """Ask for the next lines of each block of the next panel.

    Of T tiles each iteration asks for 1/T of what it reads itself, rounded up to whole lines, so
    that memory is as busy in the first tile as in the last. A block lies in memory as it is read,
    from where the innermost loop began.
    """
    ahead, along = e.attrs["ahead"], e.attrs["along"]
    assert access.block is not None
    (summed,) = (axis for axis in access.axes if axis != ahead)
    scope, tile = emission.scope, emission.scope.around
    assert tile is not None
    held, stride = scope.counts[summed], access.stride(summed)
    assert stride is not None
    read = held * stride * access.bytes
    part = _Part(emission, tile, along, summed, read, held)
    offset = part.offset(scope.index[summed])
    panel, pointer = scope.counts[ahead], tile.pointers[access.tensor.name]
    for first in range(panel, 2 * panel, access.block[1]):
        block = access.offset(access.into_blocks(pointer, ahead, first), offset)
        for line in range(min(MOST_LINES, -(-read // CACHE_LINE))):
            address = emission.builder.gep(
                block, [ir.Constant(I64, line * CACHE_LINE)], source_etype=I8
            )
            ask_for(emission.builder, address, near=False)


class _Part:
    """What of a block an iteration of the summing loop asks for; bytes from its beginning."""

    def __init__(
        self, emission: Emission, tile: Scope, along: str, summed: str, read: int, held: int
    ) -> None:
        self.builder, self.entry, self.held = emission.builder, emission.entry, held
        self.begin = tile.index.get(summed, ir.Constant(I64, 0))
        size = emission.lir.axes[summed]
        work = tile.work.get(summed)
        if work is None:
            work = ir.Constant(I64, size) if size else emission.field(f"size.{summed}")
        bytes_read = self.builder.mul(work, ir.Constant(I64, read // held))
        self.last = self.builder.sub(bytes_read, ir.Constant(I64, CACHE_LINE))
        step, around = tile.steps[along], tile.around
        assert around is not None
        rows = emission.field(f"step.{along}")
        slot = f"part {along} {step} {read}"
        if slot not in emission.loaded:
            tiles = self.rounded_up(self.entry, rows, step)
            lines = self.entry.udiv(
                self.entry.add(tiles, ir.Constant(I64, -(-read // CACHE_LINE) - 1)), tiles
            )
            emission.loaded[slot] = self.entry.mul(lines, ir.Constant(I64, CACHE_LINE))
        self.moved = emission.loaded[slot]
        zero = ir.Constant(I64, 0)
        row = self.builder.sub(tile.index[along], around.index.get(along, zero))
        number = self.rounded_up(self.builder, row, step)
        trips = self.rounded_up(self.builder, work, held)
        self.start = self.builder.mul(self.builder.mul(number, trips), self.moved)

    def offset(self, index: ir.Value) -> ir.Value:
        """Where the part of an iteration begins."""
        builder = self.builder
        trip = builder.udiv(builder.sub(index, self.begin), ir.Constant(I64, self.held))
        place = builder.add(self.start, builder.mul(trip, self.moved))
        return call_intrinsic(builder, "llvm.umin.i64", I64, [place, self.last])

    def rounded_up(self, builder: ir.IRBuilder, amount: ir.Value, step: int) -> ir.Value:
        """How many steps cover an amount."""
        more = builder.add(amount, ir.Constant(I64, step - 1))
        return builder.udiv(more, ir.Constant(I64, step))
