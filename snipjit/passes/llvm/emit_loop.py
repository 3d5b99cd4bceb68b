"""Loops: the pieces one after another, with pointers, index and accumulators as phis."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from snipjit.ir.linear_ir import STRIDE, Loop, Piece
from snipjit.ir.loop_nest import is_block_loop, least_remainder
from snipjit.passes.llvm.emission import Emission, Scope
from snipjit.passes.llvm.emit_limits import emit_limit, emit_range
from snipjit.passes.llvm.loop_state import Carried, EmitBody, LoopState
from snipjit.passes.llvm.vector_ir import I8, I64


def emit_loop(emission: Emission, loop: Loop, emit_body: EmitBody) -> None:
    """Emit every piece; afterwards pointers are rewound and accumulators hold their last value."""
    _LoopEmitter(emission, loop, emit_body).emit()


@dataclass
class _LoopEmitter(LoopState):
    emit_body: EmitBody

    def emit(self) -> None:
        self.prepare()
        begin, self.work = self.bounds()
        entry = dict(self.scope.pointers)
        state = self.initial_state(begin)
        self.is_block = is_block_loop(self.loop)
        for number, piece in enumerate(self.loop.pieces):
            state = self.piece(piece, number, state)
        self.leave(state, entry)

    # Where the loop begins.

    def bounds(self) -> tuple[ir.Value, ir.Value]:
        """Where the loop begins and where it ends, counted from where its axis is."""
        own = [limit for limit in self.loop.limits if limit.axis == self.loop.axis]
        work = self.work_amount()
        if not own:
            return ir.Constant(I64, 0), work
        return emit_range(self.emission, own, self.scope, self.loop.step, work)

    def work_amount(self) -> ir.Value:
        axis = self.loop.axis
        if axis in self.scope.work:
            return self.scope.work[axis]
        size = self.emission.lir.axes[axis]
        return ir.Constant(I64, size) if size is not None else self.emission.field(f"size.{axis}")

    def initial_state(self, begin: ir.Value) -> Carried:
        state: Carried = {"done": begin}
        for port in self.loop.pieces[0].ports:
            pointer = self.scope.pointers[port.tensor]
            if not isinstance(begin, ir.Constant):
                unit = self.increment(port.tensor, port.ptr_increment, 1)
                distance = self.emission.builder.mul(begin, unit)
                pointer = self.emission.builder.gep(pointer, [distance], source_etype=I8)
            state[f"pointer {port.tensor}"] = pointer
        return {**state, **self.elements(self.scope)}

    # One piece.

    def piece(self, piece: Piece, number: int, state: Carried) -> Carried:
        trips = self.known_trips(piece, state)
        if trips == 0:
            return state
        if trips == 1:
            return self.iterate(piece, state, self.scope.inner())
        if trips is None and self.runs_once(number):
            return self.single_piece(piece, number, state)
        return self.counted_piece(piece, number, state, check=trips is None)

    def known_trips(self, piece: Piece, state: Carried) -> int | None:
        done = state["done"]
        if not isinstance(self.work, ir.Constant) or not isinstance(done, ir.Constant):
            return None
        rest = int(self.work.constant) - int(done.constant)
        if self.loop.even:
            return self.even_trips(piece, rest)
        if piece.masked:
            return -(-max(rest - self.smaller(piece), 0) // piece.step)
        return -(-rest // piece.step) if self.is_block else rest // piece.step

    def even_trips(self, piece: Piece, rest: int) -> int:
        """How many iterations of a piece an even loop makes of what remains."""
        trips = 0
        while rest >= least_remainder(self.loop, piece, self.emission.width, rest):
            trips, rest = trips + 1, rest - piece.step
        return trips

    def runs_once(self, number: int) -> bool:
        """Whether the piece before leaves work for at most one iteration of this one."""
        if number == 0 or self.loop.even:
            return False
        before, here = self.loop.pieces[number - 1], self.loop.pieces[number]
        if here.masked:
            most = least_remainder(self.loop, before, self.emission.width) - 1
            return before.step <= here.step or (before.masked and most <= here.step)
        return not before.masked and before.step <= 2 * here.step

    def smaller(self, piece: Piece) -> int:
        """What is left to the masked pieces after a masked one: it runs only while more is left."""
        return least_remainder(self.loop, piece, self.emission.width) - 1

    def enough(self, number: int, done: ir.Value) -> ir.Value:
        """Whether another iteration of a piece is due."""
        builder, piece = self.emission.builder, self.loop.pieces[number]
        rest = _difference(builder, self.work, done)
        if self.loop.even:
            started = builder.add(rest, ir.Constant(I64, self.loop.step - 1))
            tiles = builder.udiv(started, ir.Constant(I64, self.loop.step))
            return builder.icmp_signed(
                ">", rest, builder.mul(tiles, ir.Constant(I64, piece.step - 1))
            )
        if piece.masked:
            return builder.icmp_signed(">", rest, ir.Constant(I64, self.smaller(piece)))
        needed = 1 if self.is_block else piece.step
        return builder.icmp_signed(">=", rest, ir.Constant(I64, needed))

    def single_piece(self, piece: Piece, number: int, state: Carried) -> Carried:
        builder = self.emission.builder
        before = builder.block
        body = builder.append_basic_block(f"{self.loop.axis}.{piece.step}.once")
        leave = builder.append_basic_block(f"{self.loop.axis}.{piece.step}.end")
        builder.cbranch(self.enough(number, state["done"]), body, leave)
        builder.position_at_end(body)
        after = self.iterate(piece, state, self.scope.inner())
        latch = builder.block
        builder.branch(leave)
        builder.position_at_end(leave)
        return self.merge(state, before, after, latch)

    def counted_piece(self, piece: Piece, number: int, state: Carried, check: bool) -> Carried:
        builder = self.emission.builder
        before = builder.block
        header = builder.append_basic_block(f"{self.loop.axis}.{piece.step}")
        leave = builder.append_basic_block(f"{self.loop.axis}.{piece.step}.end")
        if check:
            builder.cbranch(self.enough(number, state["done"]), header, leave)
        else:
            builder.branch(header)
        builder.position_at_end(header)
        phis = {slot: builder.phi(value.type) for slot, value in state.items()}
        after = self.iterate(piece, dict(phis), self.scope.inner())
        latch = builder.block
        for slot, phi in phis.items():
            phi.add_incoming(state[slot], before)
            phi.add_incoming(after[slot], latch)
        builder.cbranch(self.enough(number, after["done"]), header, leave)
        builder.position_at_end(leave)
        if check:
            return self.merge(state, before, after, latch)
        trips = self.known_trips(piece, state) or 0
        done = int(state["done"].constant) + trips * piece.step
        return {**after, "done": ir.Constant(I64, done)}

    def mask(self, scope: Scope, rest: ir.Value, piece: Piece) -> None:
        """Enter a masked iteration: the valid lanes, and a place for what depends on them."""
        builder, step, axis = self.emission.builder, piece.step, self.loop.axis
        full = ir.Constant(I64, step)
        scope.valid[axis] = builder.select(builder.icmp_signed("<", rest, full), rest, full)
        scope.whole[axis] = self.smaller(piece)
        if isinstance(rest, ir.Constant):
            scope.valid[axis] = ir.Constant(I64, min(rest.constant, step))
            scope.whole[axis] = min(rest.constant, step) // self.emission.width
            scope.whole[axis] *= self.emission.width
        scope.cache = {}
        tiles = builder.append_basic_block(f"{self.loop.axis}.{step}.tiles")
        scope.preamble = ir.IRBuilder(builder.block)
        scope.preamble.position_before(builder.branch(tiles))
        builder.position_at_end(tiles)

    def iterate(self, piece: Piece, state: Carried, scope: Scope) -> Carried:
        """One iteration of the body; the state after it."""
        emission, builder, axis = self.emission, self.emission.builder, self.loop.axis
        done = state["done"]
        outer = self.scope.index.get(axis)
        scope.index[axis] = done if outer is None else builder.add(outer, done)
        amount: ir.Value = ir.Constant(I64, piece.step)
        rest = _difference(builder, self.work, done)
        if piece.masked:
            self.mask(scope, rest, piece)
        if self.is_block:
            amount = builder.select(builder.icmp_signed("<", rest, amount), rest, amount)
            scope.work[axis] = amount
        else:
            scope.counts[axis], scope.steps[axis] = piece.step, self.loop.step
        for limit in self.loop.limits:
            if limit.axis != axis:
                emit_limit(emission, limit, scope, piece.step, rest)
        self.enter(scope, state)
        emission.scope = scope
        self.emit_body(piece.body)
        after = self.advance(piece, state, scope)
        emission.scope = self.scope
        return after

    def advance(self, piece: Piece, state: Carried, scope: Scope) -> Carried:
        builder = self.emission.builder
        after: Carried = {**state, **self.elements(scope)}
        after["done"] = builder.add(state["done"], ir.Constant(I64, piece.step))
        if isinstance(state["done"], ir.Constant):
            after["done"] = ir.Constant(I64, int(state["done"].constant) + piece.step)
        for port in piece.ports:
            slot = f"pointer {port.tensor}"
            distance = self.increment(port.tensor, port.ptr_increment, piece.step)
            after[slot] = builder.gep(state[slot], [distance], source_etype=I8)
        return after

    def increment(self, tensor: str, ptr_increment: int | str, step: int) -> ir.Value:
        """Bytes a pointer moves in one iteration."""
        if ptr_increment == STRIDE:
            return self.scaled(f"stride.{tensor}.{self.loop.axis}", step)
        size = self.emission.tensors[tensor].element.bytes
        return ir.Constant(I64, int(ptr_increment) * step * size)

    def scaled(self, field: str, step: int) -> ir.Value:
        emission, slot = self.emission, f"{field} x {step}"
        if slot not in emission.loaded:
            product = emission.entry.mul(emission.field(field), ir.Constant(I64, step))
            emission.loaded[slot] = product
        return emission.loaded[slot]

    # After the loop.

    def leave(self, state: Carried, entry: dict[str, ir.Value]) -> None:
        """Rewind pointers: a whole axis by its finalization offset, a block to where it began."""
        self.enter(self.scope, state)
        whole = self.loop.axis not in self.scope.work and not self.loop.limits
        for port in self.loop.pieces[-1].ports:
            if not port.rewind:
                continue
            pointer = entry[port.tensor]
            if whole and port.ptr_increment == STRIDE and not self.is_block:
                field = self.emission.field(f"rewind.{port.tensor}.{self.loop.axis}")
                moved = state[f"pointer {port.tensor}"]
                pointer = self.emission.builder.gep(moved, [field], source_etype=I8)
            self.scope.pointers[port.tensor] = pointer


def _difference(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """``a - b``, a constant if both are."""
    if isinstance(a, ir.Constant) and isinstance(b, ir.Constant):
        return ir.Constant(a.type, a.constant - b.constant)
    return builder.sub(a, b)
