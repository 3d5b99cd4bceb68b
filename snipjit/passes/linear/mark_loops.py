"""MarkLoops: the parallel loops, and a loop over the streamed axis for each level of reductions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.errors import UnsupportedError
from snipjit.linear_ir import Expression, LinearIR, Loop, Piece, Statement
from snipjit.passes.base import Pass
from snipjit.passes.linear.axis_roles import kept_axes, row_axes
from snipjit.target_machine import TargetMachine


@dataclass(frozen=True)
class MarkLoops(Pass):
    """Give every Expression its loops: parallel ones around all, streaming ones around levels.

    Axes that every product, reduction and result keeps become parallel loops, the row axes in
    blocks; so does a dynamic axis that only some results have (columns of unknown size). The
    *streamed* axis is the one that values carry and reductions remove; it is never held whole. A
    finished reduction is needed before the next *level* can start, so there is one loop a level,
    and what a later level needs of an earlier one is computed again: nothing grows with the
    streamed axis.

    Before:  %s = brgemm %q %k {over=(d)} : f32[n m]
             %x = reduce %s {over=(n)} : f32[m]
             %p = sub %s %x : f32[n m]
             store %y %p
    After:   parallel m step 192 {
               for n step 128 { %s = brgemm %q %k ; %x = reduce %s }
               for n step 128 { %s.1 = brgemm %q %k ; %p = sub %s.1 %x ; store %y %p }
             }
    """

    target: TargetMachine

    def run(self, lir: LinearIR) -> LinearIR:
        """Wrap the flat body in its loops."""
        flat = lir.expressions()
        parallel = _parallel_axes(lir)
        steps = [self._step(lir, axis) for axis in parallel]
        stream = _streamed_axis(lir, parallel)
        body: list[Statement] = list(flat)
        if stream is not None:
            body = _levels(flat, stream, self._block(lir))
        for axis, step in zip(reversed(parallel), reversed(steps), strict=True):
            body = [Loop(axis, [Piece(step, body)], parallel=True)]
        lir.body = body
        return lir

    def _block(self, lir: LinearIR) -> int:
        """How much of the streamed axis is kept at once."""
        by_rows = any(axis in lir.lanes for axis in kept_axes(lir))
        return self.target.block if by_rows else self.target.column_block

    def _step(self, lir: LinearIR, axis: str) -> int:
        if axis not in kept_axes(lir):
            return 8 * self.target.tile[0]
        if axis not in row_axes(lir):
            return 1
        in_lanes = axis in lir.lanes
        return self.target.task_vectors * self.target.lanes if in_lanes else self.target.task_rows


def _parallel_axes(lir: LinearIR) -> list[str]:
    """Batch axes, dynamic axes that no operation removes, and the row axes last."""
    kept, rows = kept_axes(lir), row_axes(lir)
    reduced = {axis for e in lir.expressions() for axis in e.over}
    stored = {axis for e in lir.expressions() if e.op == "store" for axis in e.type.axes}
    blocked = [
        axis
        for axis, size in lir.axes.items()
        if axis in stored and axis not in reduced and axis not in kept and size is None
    ]
    return [*(axis for axis in kept if axis not in rows), *blocked, *rows]


def _streamed_axis(lir: LinearIR, parallel: list[str]) -> str | None:
    """The axis that computed values carry and reductions remove; a dynamic one comes first."""
    flat = lir.expressions()
    carried = {axis for e in flat if e.op != "fill" for axis in e.type.axes}
    reduced = {axis for e in flat for axis in e.over}
    loads = {a for e in flat if e.op == "reduce" for a in e.over}
    axes = [
        axis
        for axis in lir.axes
        if axis in reduced and axis in carried | loads and axis not in parallel
    ]
    dynamic = [axis for axis in axes if lir.axes[axis] is None]
    if len(dynamic) > 1:
        names = ", ".join(dynamic)
        raise UnsupportedError(
            f"axes {names} are all of unknown size, carried by values and reduced; "
            "one such axis is accepted (give the others a static size)"
        )
    return next(iter(dynamic or axes), None)


def _levels(expressions: list[Expression], stream: str, step: int) -> list[Statement]:
    """One loop over the streamed axis a level, with the row expressions each level waits for."""
    producers = {e.output: e for e in expressions}
    level: dict[str | None, int] = {}
    for e in expressions:
        operands = [producers[name] for name in e.inputs if name in producers]
        level[_key(e)] = max((level[_key(p)] + (stream in p.over) for p in operands), default=0)
    body: list[Statement] = []
    for number in range(max(level.values()) + 1):
        here = [e for e in expressions if level[_key(e)] == number]
        body += [e for e in here if not _streams(e, stream)]
        wanted = [e for e in here if _streams(e, stream) and _is_needed(e, here, stream)]
        if wanted:
            body.append(
                Loop(stream, [Piece(step, _with_producers(wanted, producers, stream, number))])
            )
    return body


def _key(e: Expression) -> str:
    return e.output if e.output is not None else f"store {e.inputs[0]}"


def _streams(e: Expression, stream: str) -> bool:
    return stream in e.type.axes or stream in e.over


def _is_needed(e: Expression, here: list[Expression], stream: str) -> bool:
    """Whether this level itself uses the value: only later levels would compute it again anyway."""
    if e.op == "store" or stream in e.over:
        return True
    users = [u for u in here if e.output in u.inputs and _streams(u, stream)]
    return any(_is_needed(user, here, stream) for user in users)


def _with_producers(
    wanted: list[Expression], producers: dict[str | None, Expression], stream: str, number: int
) -> list[Statement]:
    """The wanted expressions after clones of the streamed values they need from earlier levels."""
    names = {e.output for e in wanted}
    renames: dict[str, str] = {}
    body: list[Statement] = []

    def clone(name: str) -> str:
        producer = producers.get(name)
        if (
            producer is None
            or name in names
            or not _streams(producer, stream)
            or stream in producer.over
        ):
            return name
        if name not in renames:
            inputs = tuple(clone(operand) for operand in producer.inputs)
            renames[name] = f"{name}.{number}" if number else name
            body.append(replace(producer, output=renames[name], inputs=inputs))
        return renames[name]

    for e in wanted:
        inputs = tuple(clone(name) for name in e.inputs)
        body.append(replace(e, inputs=inputs))
    return body
