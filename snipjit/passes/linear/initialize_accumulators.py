"""InitializeAccumulators: a reduction that spans a loop becomes a register updated by the loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Piece, Statement
from snipjit.ir.operations import MONOIDS
from snipjit.ir.regions import rewrite
from snipjit.ir.states import State
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class InitializeAccumulators(LinearPass):
    """Give a reduction over a loop's axis its identity before the loop and its update inside.

    The loop says what it carries, and in which monoid.

    Before:  for n step 128 { %x = reduce %s {monoid=max, over=(n)} ; %o = brgemm %p %v {over=(n)} }
    After:   %x = fill {value=-inf}
             %o = fill {value=0.0}
             for n carries %x max part %x.part and %o sum step 128 {
               %x.part = reduce %s {monoid=max, over=(n)}
               %x = maximum %x %x.part
               %o = brgemm %p %v %o {over=(n)}
             }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Rewrite every loop, innermost first."""
        lir.body = rewrite(lir.body, lambda body, _: [x for s in body for x in _initialized(s)])
        return lir


def _initialized(statement: Statement) -> list[Statement]:
    return _accumulate(statement) if isinstance(statement, Loop) else [statement]


def _accumulate(loop: Loop) -> list[Statement]:
    fills: list[Statement] = []
    body: list[Statement] = []
    states: list[State] = []
    for statement in loop.body:
        if not isinstance(statement, Expression) or loop.axis not in statement.over:
            body.append(statement)
            continue
        output = statement.output
        assert output is not None
        if statement.op == "brgemm":
            states.append(State(output, "sum"))
            body.append(replace(statement, inputs=(*statement.inputs, output)))
        else:
            states.append(State(output, statement.attrs["monoid"], f"{output}.part"))
            body += update(statement)
        fills.append(identity(statement, MONOIDS[states[-1].monoid].identity))
    carries = replace(loop, pieces=[Piece(loop.step, body)], states=tuple(states))
    return [*fills, carries]


def identity(e: Expression, value: float) -> Expression:
    """The accumulator of a reduction before anything is combined into it."""
    return Expression("fill", e.output, (), e.type, {"value": value})


def update(e: Expression) -> list[Statement]:
    """A reduction of one block, combined into the accumulator of the same name."""
    assert e.output is not None
    part = f"{e.output}.part"
    combine = MONOIDS[e.attrs["monoid"]].combine
    return [replace(e, output=part), Expression(combine, e.output, (e.output, part), e.type)]
