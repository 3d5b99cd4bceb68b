"""InsertSpecificIterations: main bodies and tails, so that every tile has a known size."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from snipjit.linear_ir import (
    Expression,
    Join,
    LinearIR,
    Loop,
    Piece,
    Retry,
    Statement,
    holds_pairs,
    is_block_loop,
    walk,
)
from snipjit.passes.base import Pass
from snipjit.passes.linear.axis_roles import in_vectors


@dataclass(frozen=True)
class InsertSpecificIterations(Pass):
    """Expand tile loops into a main body and the tails their work amount may need.

    Rows go on in halves (8 ▸ 4, 2, 1): each tail runs at most once. Lanes of an axis of unknown
    size, in panels or in columns, are always masked: a body that needed no mask would save nothing
    that pays for its code. What does not need a whole panel goes on vector by vector, which costs
    nothing; but products of pairs take longer, and more of them must be under way, so that there
    the rest gets one body with as many vectors as hold it. A static axis gets just the bodies it
    needs, masked or not. Products in tiles go on beyond the end, in a body of two registers of rows
    and one of one; sums have a single body.

    Before:  for m step 48 { for n step 8 { … } }
    After:   for m step 48 masked { for n step 8 { … } tail 4 { … } tail 2 { … } tail 1 { … } }
             tail 16 masked { … }
    """

    def run(self, lir: LinearIR) -> LinearIR:
        """Expand every loop, innermost first."""
        _descend(lir, lir.body, ())
        return lir


def _descend(lir: LinearIR, body: list[Statement], loops: tuple[Loop, ...]) -> None:
    for statement in body:
        if not isinstance(statement, Loop):
            continue
        for piece in statement.pieces:
            _descend(lir, piece.body, (*loops, statement))
        kept = statement.parallel or isinstance(statement, Join | Retry)
        if not (kept or is_block_loop(statement)):
            statement.pieces = _expanded(lir, statement.pieces[0], statement.axis, loops)


def _expanded(lir: LinearIR, main: Piece, axis: str, loops: tuple[Loop, ...]) -> list[Piece]:
    blocks = [loop for loop in loops if loop.axis == axis]
    size = None if blocks else lir.axes[axis]
    if main.masked:
        return _in_tiles(main, axis, lir.width, size)
    # What is loaded for a product need not lie in its lanes.
    made = [s for s, _ in walk(main.body) if isinstance(s, Expression) and s.op != "load"]
    if not in_vectors(lir, axis, made) or main.step % lir.width:
        return _rows(main, size)
    if blocks and blocks[-1].parallel:
        return _panel(main, lir.width)
    return _columns(main, lir.width * (2 if holds_pairs(main.body, axis) else 1), size)


def _panel(main: Piece, width: int) -> list[Piece]:
    pairs = any(isinstance(s, Expression) and "pairs" in s.attrs for s, _ in walk(main.body))
    steps = range(main.step, 0, -width) if pairs else dict.fromkeys((main.step, width))
    return [Piece(step, _body(main, step), masked=True) for step in steps]


def _in_tiles(main: Piece, axis: str, width: int, size: int | None) -> list[Piece]:
    """Sums as they are; rows in tiles while more than one register of them is left, then in one."""
    sums = any(isinstance(s, Expression) and axis in s.over for s in main.body)
    if sums or main.step == width:
        return [main]
    last = Piece(width, _body(main, width), masked=True)
    if size is None:
        return [main, last]
    rest = size % main.step
    whole, more = size >= main.step or rest > width, 0 < rest <= width
    return [piece for piece, needed in ((main, whole), (last, more)) if needed]


def _columns(main: Piece, width: int, size: int | None) -> list[Piece]:
    if size is None:
        return [Piece(main.step, main.body, masked=True)]
    pieces, rest = [main] if size >= main.step else [], size % main.step
    if rest:
        step = -(-rest // width) * width
        pieces.append(Piece(step, _body(main, step), masked=rest % width > 0))
    return pieces


def _rows(main: Piece, size: int | None) -> list[Piece]:
    tails = _halves(main.step)
    if size is None:
        return [main, *(Piece(step, copy.deepcopy(main.body)) for step in tails)]
    rest = size % main.step
    pieces = [main] if size >= main.step else []
    return [*pieces, *(Piece(step, copy.deepcopy(main.body)) for step in tails if rest & step)]


def _body(main: Piece, step: int) -> list[Statement]:
    return main.body if step == main.step else copy.deepcopy(main.body)


def _halves(step: int) -> list[int]:
    """Powers of two below ``step``, falling: together they cover every remainder."""
    return [1 << bit for bit in range((step - 1).bit_length() - 1, -1, -1)]
