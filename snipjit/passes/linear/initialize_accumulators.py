"""InitializeAccumulators: a reduction that spans a loop becomes a register updated by the loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.ir.linear_ir import Expression, LinearIR, Loop, Piece, Statement
from snipjit.ir.operations import MONOIDS
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class InitializeAccumulators(Pass):
    """Give a reduction over a loop's axis its identity before the loop and its update inside.

    Before:  for n step 128 { %x = reduce %s {monoid=max, over=(n)} ; %o = brgemm %p %v {over=(n)} }
    After:   %x = fill {value=-inf}
             %o = fill {value=0.0}
             for n step 128 {
               %x.part = reduce %s {monoid=max, over=(n)}
               %x = maximum %x %x.part
               %o = brgemm %p %v %o {over=(n)}
             }
    """

    def run(self, lir: LinearIR) -> LinearIR:
        """Rewrite every loop, innermost first."""
        lir.body = _rewrite(lir.body)
        return lir


def _rewrite(body: list[Statement]) -> list[Statement]:
    result: list[Statement] = []
    for statement in body:
        if isinstance(statement, Loop):
            pieces = [replace(p, body=_rewrite(p.body)) for p in statement.pieces]
            result += _accumulate(replace(statement, pieces=pieces))
        else:
            result.append(statement)
    return result


def _accumulate(loop: Loop) -> list[Statement]:
    fills: list[Statement] = []
    body: list[Statement] = []
    for statement in loop.body:
        if not isinstance(statement, Expression) or loop.axis not in statement.over:
            body.append(statement)
        elif statement.op == "brgemm":
            fills.append(identity(statement, 0.0))
            output = statement.output
            assert output is not None
            body.append(replace(statement, inputs=(*statement.inputs, output)))
        else:
            fills.append(identity(statement, MONOIDS[statement.attrs["monoid"]].identity))
            body += update(statement)
    return [*fills, Loop(loop.axis, [Piece(loop.step, body)], loop.parallel)]


def identity(e: Expression, value: float) -> Expression:
    """The accumulator of a reduction before anything is combined into it."""
    return Expression("fill", e.output, (), e.type, {"value": value})


def update(e: Expression) -> list[Statement]:
    """A reduction of one block, combined into the accumulator of the same name."""
    assert e.output is not None
    part = f"{e.output}.part"
    combine = MONOIDS[e.attrs["monoid"]].combine
    return [replace(e, output=part), Expression(combine, e.output, (e.output, part), e.type)]
