"""What emission needs of buffers: room for every access, and memory that nothing else uses."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Nest, Piece, Statement, walk
from snipjit.ir.loop_nest import kept_buffers, most, shared_buffers, task_body
from snipjit.ir.tensors import Buffer
from snipjit.ir.verify.linear_loops import fault, goes_beyond, tiles_end


def check_buffers(lir: LinearIR) -> None:
    """Raise VerificationError if a buffer is too small, has no offset, or overlaps another."""
    for statement, loops in lir.walk():
        if isinstance(statement, Buffer):
            _check_shape(lir, statement, loops)
    _check_stored(lir)
    _check_scopes(lir, lir.body, ())
    _check_offsets(lir, task_body(lir), [])
    _check_shared_offsets(lir)
    _check_kept_offsets(lir)


def _check_shape(lir: LinearIR, buffer: Buffer, loops: Nest) -> None:
    if buffer.offset is None:
        raise fault(lir, buffer, f"%{buffer.name} has no offset in the scratchpad")
    for axis, extent in buffer.extents.items():
        needed = most(lir, axis, loops)
        if needed is None or extent < needed:
            needs = "a bounded number of" if needed is None else str(needed)
            message = f"%{buffer.name} holds {extent} elements of axis {axis}, but needs {needs}"
            raise fault(lir, buffer, message)
    if buffer.pairs and buffer.extents.get(buffer.pairs, 1) % 2:
        raise fault(lir, buffer, f"%{buffer.name} must hold an even part of axis {buffer.pairs}")
    lanes = lir.vector_axis(buffer.axes)
    innermost = bool({*buffer.axes[-1:]} & {lanes, buffer.pairs})
    if lanes and (not innermost or buffer.extents[lanes] % lir.width):
        message = f"%{buffer.name} must have whole vectors of lanes [{lanes}:…] innermost"
        raise fault(lir, buffer, message)


def _check_stored(lir: LinearIR) -> None:
    """What is loaded was stored: at least, a store of the buffer stands before."""
    stored = {tensor.name for tensor in lir.inputs}
    for s, _ in lir.walk():
        if isinstance(s, Expression) and s.op == "store":
            stored.add(s.inputs[0])
        elif isinstance(s, Expression) and s.op == "load" and s.inputs[0] not in stored:
            raise fault(lir, s, f"%{s.inputs[0]} is loaded before anything is stored there")


# Scopes: an access stands where the buffer is declared, or inside.


def _check_scopes(lir: LinearIR, body: list[Statement], loops: Nest) -> None:
    _Scopes(lir, lir.buffers()).follow(body, loops, {}, {})


@dataclass(frozen=True)
class _Scopes:
    lir: LinearIR
    buffers: dict[str, Buffer]

    def follow(
        self, body: list[Statement], loops: Nest, homes: dict[str, Nest], tile: dict[str, int]
    ) -> None:
        """``homes``: the loops around the declaration of each buffer that is alive.

        ``tile``: elements of each axis in a masked tile; others are whole, and fit if they run.
        """
        for statement in body:
            if isinstance(statement, Loop):
                for piece in statement.pieces:
                    inner = {**tile, statement.axis: piece.step if piece.masked else 0}
                    self.follow(piece.body, (*loops, statement), dict(homes), inner)
                    self.has_room(statement, piece)
            elif isinstance(statement, Buffer):
                homes[statement.name] = loops
            elif statement.op in ("load", "store") and statement.inputs[0] in self.buffers:
                self.access(statement, homes)
                self.fits(statement, tile)

    def fits(self, e: Expression, tile: dict[str, int]) -> None:
        """A tile is no longer than the buffer, also where only some of it is valid."""
        for axis, extent in self.buffers[e.inputs[0]].extents.items():
            if tile.get(axis, 1) > extent:
                message = f"%{e.inputs[0]} holds {extent} of axis {axis}, the tile {tile[axis]}"
                raise fault(self.lir, e, message)

    def has_room(self, loop: Loop, piece: Piece) -> None:
        """Tiles that go on beyond the end of an axis end where the buffer ends, or before.

        So do vectors: what is not valid of them is masked in tensors of the call alone.
        """
        in_lanes = loop.axis in self.lir.lanes
        if not (piece.masked and (in_lanes or goes_beyond(self.lir, piece, loop.axis))):
            return
        least = loop.pieces[-1].step
        inside = {s.name for s, _ in walk(piece.body) if isinstance(s, Buffer)}
        for name in _touched(piece.body):
            buffer = self.buffers.get(name) if name not in inside else None
            extent = buffer.extents.get(loop.axis, 0) if buffer else 0
            covered = min(extent, self.lir.axes[loop.axis] or extent)
            if buffer and tiles_end(loop, covered, self.lir.width) > extent:
                message = f"%{name} holds {extent} of axis {loop.axis}, no multiple of {least}"
                raise fault(self.lir, loop, message)

    def access(self, e: Expression, homes: dict[str, Nest]) -> None:
        """A move stands where the buffer is declared, and has no axis of which it holds one."""
        name, lir = e.inputs[0], self.lir
        if name not in homes:
            raise fault(lir, e, f"%{name} is not declared around this {e.op}")
        for axis in e.type.axes:
            if axis in self.buffers[name].axes or most(lir, axis, homes[name]) == 1:
                continue
            raise fault(lir, e, f"%{name} holds no axis {axis}, of which there are several here")


# Offsets: buffers that are alive together have memory of their own.


@dataclass(frozen=True)
class _Life:
    """The positions in one body between which a buffer holds something."""

    buffer: Buffer
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        """Whether the two share memory."""
        one, two = _bytes(self.buffer), _bytes(other)
        return one.start < two.stop and two.start < one.stop

    def hands_over(self, other: _Life, lir: LinearIR, body: list[Statement]) -> bool:
        """Whether the other buffer takes the place of this one, element by element."""
        one, two = self.buffer, other.buffer
        same = (one.offset, one.dtype, list(one.extents.items())) == (
            two.offset,
            two.dtype,
            list(two.extents.items()),
        )
        return same and self.last == other.first and _reads_first(lir, body[self.last], one, two)


def _bytes(buffer: Buffer) -> range:
    start = buffer.offset or 0
    return range(start, start + buffer.elements * buffer.element.bytes)


def _check_offsets(lir: LinearIR, body: list[Statement], outer: list[Buffer]) -> None:
    """``outer``: buffers of bodies around that are alive in this one."""
    lives = [_life(body, buffer) for buffer in body if isinstance(buffer, Buffer)]
    for number, life in enumerate(lives):
        for buffer in outer:
            if life.overlaps(buffer):
                raise _collision(lir, life.buffer, buffer)
        for other in lives[:number]:
            together = life.first <= other.last and other.first <= life.last
            handed = life.hands_over(other, lir, body) or other.hands_over(life, lir, body)
            if together and life.overlaps(other.buffer) and not handed:
                raise _collision(lir, life.buffer, other.buffer)
    for position, loop in enumerate(body):
        if isinstance(loop, Loop):
            alive = [life.buffer for life in lives if life.first <= position <= life.last]
            for piece in loop.pieces:
                _check_offsets(lir, piece.body, [*outer, *alive])


def _check_shared_offsets(lir: LinearIR) -> None:
    """What a chunk leaves in one shared buffer ends before the next one begins."""
    shared = sorted(shared_buffers(lir).values(), key=lambda buffer: buffer.offset or 0)
    for one, two in itertools.pairwise(shared):
        size = one.stride(one.axes[0]) * one.element.bytes
        if (one.offset or 0) + size > (two.offset or 0):
            raise _collision(lir, one, two)


def _check_kept_offsets(lir: LinearIR) -> None:
    """What is filled once is no other buffer's memory."""
    buffers = lir.buffers()
    for name in sorted(kept_buffers(lir.body)):
        life = _Life(buffers[name], 0, 0)
        for other in buffers.values():
            if other.name not in (name, *shared_buffers(lir)) and life.overlaps(other):
                raise _collision(lir, life.buffer, other)


def _collision(lir: LinearIR, one: Buffer, two: Buffer) -> Exception:
    message = f"%{one.name} and %{two.name} hold values at the same time in the same memory"
    return fault(lir, one, message)


def _life(body: list[Statement], buffer: Buffer) -> _Life:
    used = [i for i, statement in enumerate(body) if buffer.name in _touched([statement])]
    return _Life(buffer, min(used, default=0), max(used, default=-1))


def _touched(body: list[Statement]) -> list[str]:
    """The tensors that moves in a body touch, in order."""
    return [
        s.inputs[0]
        for s, _ in walk(body)
        if isinstance(s, Expression) and s.op in ("load", "store")
    ]


def _reads_first(lir: LinearIR, statement: Statement, read: Buffer, written: Buffer) -> bool:
    """Whether all accesses share one body a piece, which loads ``read`` before ``written``.

    Each element must be visited once: a loop has an axis of the buffers, or runs once.
    """
    if not isinstance(statement, Loop):
        return True
    if statement.axis not in read.axes and lir.axes.get(statement.axis) != 1:
        return False
    for piece in statement.pieces:
        direct = [s for s in piece.body if isinstance(s, Expression)]
        here = [e for e in direct if e.op in ("load", "store")]
        names = [e.inputs[0] for e in here if e.inputs[0] in (read.name, written.name)]
        inner = [s for s in piece.body if isinstance(s, Loop)]
        below = [s for s in inner if {read.name, written.name} & set(_touched([s]))]
        if names and below:
            return False
        if not all(_reads_first(lir, loop, read, written) for loop in below):
            return False
        if len(below) > 1 or names != sorted(names, key=lambda name: name == written.name):
            return False
    return True
