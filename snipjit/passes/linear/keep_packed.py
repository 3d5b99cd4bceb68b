"""KeepPacked: what one task has packed is not packed anew by the next one that wants the same."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.linear_ir import LinearIR, Nest, Statement, expressions, is_kind, once
from snipjit.ir.loop_nest import streams
from snipjit.ir.regions import rewrite
from snipjit.ir.tensors import Buffer
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class KeepPacked(LinearPass):
    """Fill a buffer once, as long as a worker's tasks want the same part of an input in it.

    Tasks have parts of the columns of a layer, and each reads the same rows. A worker does several
    tasks, one after another; where an axis is streamed, a buffer holds too little of it to be kept.

    Before:  parallel n step 192 { … for m step 48 { buffer %x.packed.buffer …
               for k step 16 { %x.packed = load %x ; store %x.packed.buffer %x.packed } … } }
    After:   … once m { for k step 16 { … } } …
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Wrap every loop that packs for several tasks."""
        if streams(lir):
            return lir

        def keep(body: list[Statement], loops: Nest) -> list[Statement]:
            declared = {s.name for s in body if isinstance(s, Buffer)}
            return [_kept(lir, s, body, declared, loops) for s in body]

        lir.body = rewrite(lir.body, keep)
        return lir


def _kept(
    lir: LinearIR, statement: Statement, body: list[Statement], declared: set[str], loops: Nest
) -> Statement:
    """A statement, in a body with the buffers that it declares; once, if it packs for others."""
    if not is_kind(statement, "for"):
        return statement
    moves = expressions([statement])
    filled = {e.inputs[0] for e in moves if e.op == "store"}
    read = {e.inputs[0] for e in moves if e.op == "load"}
    packs = {e.op for e in moves} <= {"load", "store", "prefetch"} and read <= {*lir.tensors}
    alone = filled <= declared and not _is_filled_elsewhere(body, statement, filled)
    if not (packs and filled and alone):
        return statement
    axes = {axis for name in read for axis in lir.tensors[name].axes}
    around = dict.fromkeys(loop.axis for loop in loops)
    others = [loop for loop in loops if loop.parallel and loop.axis not in axes]
    at = tuple(axis for axis in around if axis in axes)
    return once(at, [statement]) if others and at else statement


def _is_filled_elsewhere(body: list[Statement], own: Statement, names: set[str]) -> bool:
    """Whether another statement of a body stores to any of some buffers."""
    others = expressions([s for s in body if s is not own])
    return any(e.op == "store" and e.inputs[0] in names for e in others)
