"""What the interpreter must know of loops: their iterations, and the reductions they carry."""

from __future__ import annotations

from collections.abc import Iterator

from snipjit.linear_ir import Expression, LinearIR, Loop, Piece, is_block_loop


def iterations(loop: Loop, work: int) -> Iterator[tuple[Piece, int]]:
    """The pieces of a loop in the order they run, with the elements each iteration covers."""
    whole = len(loop.pieces) == 1 or is_block_loop(loop)
    for number, piece in enumerate(loop.pieces):
        smaller = max((p.step for p in loop.pieces[number + 1 :] if p.masked), default=0)
        least = 1 if whole else smaller + 1 if piece.masked else piece.step
        while work >= least:
            yield piece, min(piece.step, work)
            work -= min(piece.step, work)


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
