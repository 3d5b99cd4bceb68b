"""Pad: zeros in a buffer of pairs behind what the current block has of an axis."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from snipjit.ir.expression import Expression
from snipjit.ir.tensors import Buffer
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.vector_ir import (
    I8,
    I32,
    I64,
    broadcast,
    call_intrinsic,
    constant,
    lane_numbers,
)

LINE = 64
"""Bytes that a store writes."""


def emit_pad(emission: Emission, e: Expression) -> None:
    """Write the zeros, if there are any to write."""
    pad = _Pad(emission, e)
    if pad.buffer.axes[-1] == pad.axis:
        pad.ends_of_rows()
    else:
        pad.rows()


class _Pad:
    def __init__(self, emission: Emission, e: Expression) -> None:
        buffer = emission.tensors[e.inputs[0]]
        assert isinstance(buffer, Buffer)
        self.builder, self.buffer, self.axis = emission.builder, buffer, str(e.attrs["axis"])
        self.to = int(e.attrs["to"])
        self.pointer = emission.scope.pointers[buffer.name]
        size = emission.lir.axes[self.axis]
        whole = emission.field(f"size.{self.axis}") if size is None else ir.Constant(I64, size)
        self.count = emission.scope.work.get(self.axis, whole)

    def rows(self) -> None:
        """Rows of pairs one after another: all lines from the first one behind the end."""
        line = ir.Constant(I64, self.buffer.stride(self.axis) * 2 * self.buffer.element.bytes)
        first = self.builder.mul(self.pairs(self.count), line)
        last = self.builder.mul(self.pairs(self.rounded()), line)
        self.repeat(first, last, LINE, lambda at: self.store(self.offset(at)))

    def ends_of_rows(self) -> None:
        """The last pairs of each row: the lanes of one vector that lie behind the end."""
        builder, width = self.builder, self.to // 2
        start = builder.and_(self.count, ir.Constant(I64, -self.to))
        rest = self.pairs(builder.sub(self.count, start))
        wide = broadcast(builder, builder.trunc(rest, I32), width)
        mask = builder.icmp_signed(">=", lane_numbers(tuple(range(width))), wide)
        begin = builder.mul(start, ir.Constant(I64, self.buffer.element.bytes))
        line = self.buffer.extents[self.axis] * self.buffer.element.bytes
        end = ir.Constant(I64, self.buffer.elements * self.buffer.element.bytes)
        # Where nothing is left over, the vector would lie behind the row: then none is written.
        some = builder.icmp_signed("!=", start, self.count)
        last = builder.select(some, end, ir.Constant(I64, 0))
        self.repeat(
            ir.Constant(I64, 0),
            last,
            line,
            lambda at: self.store(self.offset(builder.add(at, begin)), mask),
        )

    def pairs(self, count: ir.Value) -> ir.Value:
        """The pairs that hold some elements."""
        one = ir.Constant(I64, 1)
        return self.builder.lshr(self.builder.add(count, one), one)

    def rounded(self) -> ir.Value:
        """The count, up to the next multiple."""
        more = self.builder.add(self.count, ir.Constant(I64, self.to - 1))
        return self.builder.and_(more, ir.Constant(I64, -self.to))

    def offset(self, distance: ir.Value) -> ir.Value:
        """An address in the buffer."""
        return self.builder.gep(self.pointer, [distance], source_etype=I8)

    def store(self, address: ir.Value, mask: ir.Value | None = None) -> None:
        """Zeros in a line, or in some of its lanes."""
        type = ir.VectorType(I32, LINE // 4 if mask is None else mask.type.count)
        zero = constant(type, 0)
        if mask is None:
            self.builder.store(zero, address, align=4)
            return
        name = f"llvm.masked.store.v{type.count}i32.p0"
        operands = [zero, address, ir.Constant(I32, 4), mask]
        call_intrinsic(self.builder, name, ir.VoidType(), operands)

    def repeat(
        self, first: ir.Value, last: ir.Value, step: int, body: Callable[[ir.Value], None]
    ) -> None:
        """A loop from ``first`` up to ``last``."""
        builder = self.builder
        before = builder.block
        header = builder.append_basic_block(f"pad.{self.axis}")
        leave = builder.append_basic_block(f"pad.{self.axis}.end")
        builder.cbranch(builder.icmp_signed("<", first, last), header, leave)
        builder.position_at_end(header)
        at = builder.phi(I64)
        body(at)
        after = builder.add(at, ir.Constant(I64, step))
        at.add_incoming(first, before)
        at.add_incoming(after, builder.block)
        builder.cbranch(builder.icmp_signed("<", after, last), header, leave)
        builder.position_at_end(leave)
