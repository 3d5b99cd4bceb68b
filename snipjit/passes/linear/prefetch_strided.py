"""PrefetchStrided: strided rows are prefetched before a loop that is long enough to hide it."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.linear_ir import Expression, LinearIR, Loop, Statement
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class PrefetchStrided(Pass):
    """Prefetch what a body loads after a loop, if its lanes are strided in memory.

    Such a tile reads a few elements of each of many rows. The hardware follows some streams, not
    one for each lane; and the load stands behind a whole loop, which is time enough.

    Before:  for n step 8 {
               for d step 4 { … fma … }
               %b.tile = load %b : f32[n m]            with %b [m][n], lanes m
             }
    After:   for n step 8 {
               prefetch %b : f32[n m]
               for d step 4 { … fma … }
               %b.tile = load %b : f32[n m]
             }
    """

    def run(self, lir: LinearIR) -> LinearIR:
        """Prefetch in every body."""
        _descend(lir, lir.body)
        return lir


def _descend(lir: LinearIR, body: list[Statement]) -> None:
    asked: list[Statement] = []
    behind = False
    for statement in body:
        if isinstance(statement, Loop):
            behind = True
            for piece in statement.pieces:
                _descend(lir, piece.body)
        elif isinstance(statement, Expression) and behind and _is_strided(lir, statement):
            asked.append(Expression("prefetch", None, statement.inputs, statement.type))
    body[:0] = asked


def _is_strided(lir: LinearIR, e: Expression) -> bool:
    tensor = lir.tensors.get(e.inputs[0]) if e.op == "load" else None
    return tensor is not None and lir.vector_axis(tensor.axes) not in (None, tensor.unit_axis)
