"""ReduceDecomposition: a reduction inside its tile loop becomes an accumulator and a horizon."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Statement
from snipjit.ir.operations import MONOIDS
from snipjit.passes.linear.initialize_accumulators import identity
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class ReduceDecomposition(LinearPass):
    """Combine the rows of a tile, then combine the tile into an accumulator.

    Before:  for n step 8 { %x = reduce %s {monoid=max, over=(n)} : f32[m] }
    After:   %x = fill {value=-inf} : f32[m]
             for n step 8 {
               %x.tile = horizon %s {monoid=max, over=(n)} : f32[m]
                %x = maximum %x %x.tile : f32[m]
             }

    Where an axis numbers the lanes of what a reduction goes over, these stay apart to the end.

    Before:  for n step 64 { %x = reduce %s {monoid=max, over=(n)} : f32[m] }
    After:   %x.parts = fill {value=-inf} : f32[m n.lanes]
             for n step 64 {
               %x.tile = horizon %s {monoid=max, over=(n)} : f32[m n.lanes]
               %x.parts = maximum %x.parts %x.tile : f32[m n.lanes]
             }
             %x = horizon %x.parts {monoid=max, over=(n.lanes)} : f32[m]
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Rewrite every reduction that stands in loops over its axes."""
        _descend(lir, lir.body, "")
        return lir


class _Around(NamedTuple):
    """What stands before and behind the loops over some axes, which it must still leave."""

    before: Expression
    behind: list[Expression]
    over: set[str]


def _descend(lir: LinearIR, body: list[Statement], axis: str) -> list[_Around]:
    """Decompose in a body of a loop over ``axis``; what belongs around that loop."""
    result: list[Statement] = []
    rising: list[_Around] = []
    for statement in body:
        behind: list[Statement] = []
        if isinstance(statement, Loop):
            for around in _inside(lir, statement):
                if axis in around.over:
                    rising.append(around._replace(over=around.over - {axis}))
                else:
                    result.append(around.before)
                    behind += around.behind
        if (
            isinstance(statement, Expression)
            and statement.op == "reduce"
            and axis in statement.over
        ):
            update, around = _decomposed(lir, statement)
            rising.append(around._replace(over={*statement.over} - {axis}))
            result += update
        else:
            result += [statement, *behind]
    body[:] = result
    return rising


def _inside(lir: LinearIR, loop: Loop) -> list[_Around]:
    return [one for piece in loop.pieces for one in _descend(lir, piece.body, loop.axis)]


def _decomposed(lir: LinearIR, e: Expression) -> tuple[list[Expression], _Around]:
    """What a tile does for a reduction, and what stands around its loops."""
    assert e.output is not None
    monoid = MONOIDS[e.attrs["monoid"]]
    whole, lanes = e, lanes_of(lir, e)
    if lanes is not None:
        type = replace(e.type, axes=lir.sort_axes((*e.type.axes, lanes)))
        e = replace(e, output=f"{e.output}.parts", type=type)
    tile = f"{whole.output}.tile"
    update = [
        Expression("horizon", tile, e.inputs, e.type, e.attrs),
        Expression(monoid.combine, e.output, (e.output or "", tile), e.type),
    ]
    behind = []
    if lanes is not None:
        attrs = {"monoid": e.attrs["monoid"], "over": (lanes,)}
        last = Expression("horizon", whole.output, (e.output or "",), whole.type, attrs)
        behind.append(last)
    return update, _Around(identity(e, monoid.identity), behind, set())


def lanes_of(lir: LinearIR, e: Expression) -> str | None:
    """The axis that numbers the lanes over which a reduction goes, if they are kept apart."""
    axis = lir.vector_axis((*e.type.axes, *e.over))
    lanes = f"{axis}.lanes"
    return lanes if axis in e.over and lanes in lir.plans else None
