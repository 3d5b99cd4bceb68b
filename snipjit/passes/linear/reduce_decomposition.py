"""ReduceDecomposition: a reduction inside its tile loop becomes an accumulator and a horizon."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Rewrite every reduction that stands in loops over its axes."""
        _descend(lir.body, "")
        return lir


Beginning = tuple[Expression, set[str]]
"""The fill of an accumulator, and the axes whose loops it must still come before."""


def _descend(body: list[Statement], axis: str) -> list[Beginning]:
    """Decompose in a body of a loop over ``axis``; what belongs in front of that loop."""
    result: list[Statement] = []
    rising: list[Beginning] = []
    for statement in body:
        if isinstance(statement, Loop):
            for fill, over in _beginnings(statement):
                if axis in over:
                    rising.append((fill, over - {axis}))
                else:
                    result.append(fill)
        if (
            isinstance(statement, Expression)
            and statement.op == "reduce"
            and axis in statement.over
        ):
            monoid = MONOIDS[statement.attrs["monoid"]]
            rising.append((identity(statement, monoid.identity), {*statement.over} - {axis}))
            result += _update(statement, monoid.combine)
        else:
            result.append(statement)
    body[:] = result
    return rising


def _beginnings(loop: Loop) -> list[Beginning]:
    return [begun for piece in loop.pieces for begun in _descend(piece.body, loop.axis)]


def _update(e: Expression, combine: str) -> list[Statement]:
    assert e.output is not None
    tile = f"{e.output}.tile"
    return [
        Expression("horizon", tile, e.inputs, e.type, e.attrs),
        Expression(combine, e.output, (e.output, tile), e.type),
    ]
