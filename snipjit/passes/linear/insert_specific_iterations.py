"""InsertSpecificIterations: main bodies and tails, so that every tile has a known size."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from snipjit.linear_ir import LinearIR, Loop, Piece, Statement, is_block_loop
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class InsertSpecificIterations(Pass):
    """Expand tile loops into a main body and the tails their work amount may need.

    Rows go on in halves (8 ▸ 4, 2, 1): each tail runs at most once. Every body of lanes is masked
    and the rest gets as few vectors as hold it; a body that needed no mask would save nothing that
    pays for its code. A static axis gets just the tails it needs.

    Before:  for m step 48 { for n step 8 { … } }
    After:   for m step 48 masked { for n step 8 { … } tail 4 { … } tail 2 { … } tail 1 { … } }
             tail 32 masked { … } tail 16 masked { … }
    """

    def run(self, lir: LinearIR) -> LinearIR:
        """Expand every loop, innermost first."""
        self._descend(lir, lir.body, {})
        return lir

    def _descend(self, lir: LinearIR, body: list[Statement], blocks: dict[str, int]) -> None:
        for statement in body:
            if not isinstance(statement, Loop):
                continue
            inner = {**blocks, statement.axis: statement.step}
            self._descend(lir, statement.body, inner)
            if not statement.parallel and not is_block_loop(statement):
                size = None if statement.axis in blocks else lir.axes[statement.axis]
                self._expand(lir, statement, size)

    def _expand(self, lir: LinearIR, loop: Loop, size: int | None) -> None:
        main = loop.pieces[0]
        if loop.axis == lir.lanes:
            main.masked = True
            tails = list(range(main.step - lir.width, 0, -lir.width))
            loop.pieces += [Piece(step, copy.deepcopy(main.body), masked=True) for step in tails]
            return
        tails = _halves(main.step)
        if size is not None:
            rest = size % main.step
            tails = [step for step in tails if rest & step]
            if size < main.step:
                loop.pieces = []
        loop.pieces += [Piece(step, copy.deepcopy(main.body)) for step in tails]


def _halves(step: int) -> list[int]:
    """Powers of two below ``step``, falling: together they cover every remainder."""
    return [1 << bit for bit in range((step - 1).bit_length() - 1, -1, -1)]
