"""What the interpreter must know of loops: their iterations, and the reductions they carry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Piece
from snipjit.ir.loop_nest import is_block_loop, least_remainder


def iterations(loop: Loop, work: int, width: int) -> Iterator[tuple[Piece, int]]:
    """The pieces of a loop in the order they run, with the elements each iteration covers."""
    whole = len(loop.pieces) == 1 or is_block_loop(loop)
    for piece in loop.pieces:
        while work >= (1 if whole else least_remainder(loop, piece, width, work)):
            yield piece, min(piece.step, work)
            work -= min(piece.step, work)


@dataclass(frozen=True)
class Chunk:
    """An iteration of a split loop: what it covers, which of how many, whether the last to run."""

    range: tuple[int, int]
    number: int
    count: int
    is_last: bool


def chunks(loop: Loop, work: int, most: int) -> Iterator[Chunk]:
    """The iterations of a split loop: at least one, at most ``most``.

    They may come in any order: here the last ones come first, but for the first of all.
    """
    step = max(loop.step, -(-work // most))
    firsts = range(0, max(work, 1), step)
    order = [0, *reversed(range(1, len(firsts)))]
    for number in order:
        range_ = firsts[number], min(firsts[number] + step, work)
        yield Chunk(range_, number, len(firsts), number == order[-1])


def carried_reductions(lir: LinearIR) -> dict[int, list[Expression]]:
    """Loops that accumulate whole reductions, and the reductions; also the reductions themselves.

    A value leaves a loop if anything outside reads it. It accumulates from the beginning of the
    outermost loop over one of its axes that it leaves.
    """
    readers: dict[str, list[tuple[Loop, ...]]] = {}
    for statement, loops in lir.walk():
        for name in statement.inputs if isinstance(statement, Expression) else ():
            readers.setdefault(name, []).append(loops)
    carried: dict[int, list[Expression]] = {}
    for e, loops in lir.walk():
        if not isinstance(e, Expression) or not _is_whole(e):
            continue
        reads = readers.get(e.output or "", [])
        for loop in loops:
            if loop.axis in e.over and any(
                all(loop is not other for other in path) for path in reads
            ):
                carried.setdefault(id(loop), []).append(e)
                carried[id(e)] = [e]
                break
    return carried


def _is_whole(e: Expression) -> bool:
    return e.op == "reduce" or (e.op == "brgemm" and len(e.inputs) == 2)
