"""ExtractLoopInvariants: what does not change in a loop is done in front of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Statement, expressions
from snipjit.ir.regions import rewrite
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class ExtractLoopInvariants(LinearPass):
    """Hoist Expressions without the loop's axis whose operands come from outside the loop.

    Accumulators stay (they change), and so do loads of memory that the loop writes. Nothing
    leaves a parallel loop.

    Before:  for n step 8 { %b.tile = load %b : f32[m] ; %t = add %s %b.tile : f32[n m] }
    After:   %b.tile = load %b : f32[m]
             for n step 8 { %t = add %s %b.tile : f32[n m] }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Hoist from the innermost loops outwards."""
        counts = Counter(e.output for e in lir.expressions())
        lir.body = rewrite(lir.body, lambda body, _: _hoisted(body, counts))
        return lir


def _hoisted(body: list[Statement], counts: Counter[str | None]) -> list[Statement]:
    result: list[Statement] = []
    for statement in body:
        if isinstance(statement, Loop) and not statement.parallel:
            result += _extract(statement, counts)
        result.append(statement)
    return result


def _extract(loop: Loop, counts: Counter[str | None]) -> list[Statement]:
    flat = expressions(loop.body)
    inside = {e.output for e in flat}
    written = {e.inputs[0] for e in flat if e.op in ("store", "pad")}
    hoisted: list[Statement] = []
    for e in list(loop.body):
        if not isinstance(e, Expression) or e.output is None or counts[e.output] > 1:
            continue
        blocked = (
            loop.axis in e.type.axes or loop.axis in e.over or e.attrs.get("axis") == loop.axis
        )
        if not blocked and not inside.intersection(e.inputs) and not written.intersection(e.inputs):
            hoisted.append(e)
            inside.discard(e.output)
            loop.body.remove(e)
    return hoisted
