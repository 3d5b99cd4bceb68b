"""SplitLoops: the block of lanes a task works on is split into panels of register tiles."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.linear_ir import Expression, LinearIR, Loop, Piece, Statement
from snipjit.passes.base import Pass
from snipjit.target_machine import TargetMachine


@dataclass(frozen=True)
class SplitLoops(Pass):
    """Wrap neighbouring Expressions that carry the lanes axis in a loop over panels.

    The parallel loop over lanes (step 192) is the outer half, this loop (step 48, three vectors)
    the inner one, whose work amount is the outer increment or its tail. Expressions without lanes
    depend on no lane, so they move in front of the panels and run once a block.

    Before:  parallel m step 192 {
               %c = not %keep : i1[n] ; %x = fill : f32[m]
               for n step 128 { … }
             }
    After:   parallel m step 192 {
               %c = not %keep : i1[n]
               for m step 48 { %x = fill : f32[m] }
               for n step 128 { for m step 48 { … } }
             }
    """

    target: TargetMachine

    def run(self, lir: LinearIR) -> LinearIR:
        """Split in every block of the task."""
        self._descend(lir, lir.body)
        return lir

    def _descend(self, lir: LinearIR, body: list[Statement]) -> None:
        if len(body) == 1 and isinstance(body[0], Loop) and body[0].parallel:
            self._descend(lir, body[0].body)
        else:
            body[:] = self._panels(lir, body)

    def _panels(self, lir: LinearIR, body: list[Statement]) -> list[Statement]:
        result: list[Statement] = []
        panel: list[Statement] = []
        for statement in body:
            if isinstance(statement, Loop):
                result += self._close(lir, panel)
                panel = []
                pieces = [replace(p, body=self._panels(lir, p.body)) for p in statement.pieces]
                result.append(replace(statement, pieces=pieces))
            elif isinstance(statement, Expression) and _has_lanes(lir, statement):
                panel.append(statement)
            else:
                result.append(statement)
        return result + self._close(lir, panel)

    def _close(self, lir: LinearIR, panel: list[Statement]) -> list[Statement]:
        if not panel:
            return []
        step = self.target.tile[1] * self.target.lanes
        return [Loop(lir.lanes, [Piece(step, panel)])]


def _has_lanes(lir: LinearIR, e: Expression) -> bool:
    return lir.lanes in e.type.axes
