"""MarkLoops: the parallel loops, and a loop over the streamed axis for each level of reductions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Piece, Statement
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class MarkLoops(LinearPass):
    """Give every Expression its loops: parallel ones around all, streaming ones around levels.

    Axes of which a task has a part become parallel loops, rows innermost. A *streamed* axis is
    never held whole. A finished reduction is needed before the next *level* can start, so there is
    one loop a level, and what a later level needs of an earlier one is computed again: nothing
    grows with the streamed axis. Several streams have loops of their own, one after another. Where
    streams have no blocks, what is computed again stands level by level, and FuseLoops makes the
    loops; around them rows are done in strips.

    Before:  %s = brgemm %q %k {over=(d)} : f32[n m]
             %x = reduce %s {over=(n)} : f32[m]
             %p = sub %s %x : f32[n m]
             store %y %p
    After:   parallel m step 192 {
               for n step 128 { %s = brgemm %q %k ; %x = reduce %s }
               for n step 128 { %s.1 = brgemm %q %k ; %p = sub %s.1 %x ; store %y %p }
             }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Wrap the flat body in its loops."""
        flat = lir.expressions()
        streams = _streams_of(lir)
        body = _levels(flat, streams) if streams else list[Statement](flat)
        for axis, plan in reversed(lir.plans.items()):
            if plan.strip:
                body = [Loop(axis, [Piece(plan.strip, body)])]
        for axis in reversed(_parallel_axes(lir)):
            body = [Loop(axis, [Piece(lir.plans[axis].task, body)], kind="parallel")]
        lir.body = body
        return lir


Streams = Mapping[tuple[str, ...], int]
"""Axes that are streamed together, with the step of their loop; 0 where tiles alone have loops."""


def _streams_of(lir: LinearIR) -> Streams:
    found: dict[tuple[str, ...], int] = {}
    for axis, plan in lir.plans.items():
        if plan.block:
            found[axis,] = plan.block
    whole = tuple(axis for axis, plan in lir.plans.items() if plan.role == "stream")
    return found or ({whole: 0} if whole else {})


def _parallel_axes(lir: LinearIR) -> list[str]:
    """The axes that tasks have parts of: batch axes, columns, and the row axes last."""
    parts = {axis: plan.role for axis, plan in lir.plans.items() if plan.task}
    return sorted(parts, key=lambda axis: ("batch", "columns", "rows").index(parts[axis]))


def _levels(expressions: list[Expression], streams: Streams) -> list[Statement]:
    """A loop over each streamed axis a level, with the row expressions each level waits for."""
    steps = {axis for axes in streams for axis in axes}
    producers = {e.output: e for e in expressions}
    level: dict[str | None, int] = {}
    for e in expressions:
        operands = [producers[name] for name in e.inputs if name in producers]
        waits = [level[_key(p)] + (not steps.isdisjoint(p.over)) for p in operands]
        level[_key(e)] = max(waits, default=0)
    body: list[Statement] = []
    for number in range(max(level.values()) + 1):
        here = [e for e in expressions if level[_key(e)] == number]
        body += [e for e in here if not any(_streams(e, stream) for stream in streams)]
        for stream, step in streams.items():
            wanted = [e for e in here if _streams(e, stream) and _is_needed(e, here, stream)]
            if wanted:
                inside = _with_producers(wanted, producers, stream, number)
                body += [Loop(stream[0], [Piece(step, inside)])] if step else inside
    return body


def _key(e: Expression) -> str:
    return e.output if e.output is not None else f"store {e.inputs[0]}"


def _streams(e: Expression, stream: tuple[str, ...]) -> bool:
    return not {*e.type.axes, *e.over}.isdisjoint(stream)


def _is_needed(e: Expression, here: list[Expression], stream: tuple[str, ...]) -> bool:
    """Whether this level itself uses the value: only later levels would compute it again anyway."""
    if e.op == "store" or not {*e.over}.isdisjoint(stream):
        return True
    users = [u for u in here if e.output in u.inputs and _streams(u, stream)]
    return any(_is_needed(user, here, stream) for user in users)


def _with_producers(
    wanted: list[Expression],
    producers: dict[str | None, Expression],
    stream: tuple[str, ...],
    number: int,
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
            or not {*producer.over}.isdisjoint(stream)
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
