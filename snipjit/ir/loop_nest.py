"""What the loops of a kernel say: what a task is, what tasks share, how much there is at most."""

from __future__ import annotations

from collections.abc import Iterable

from snipjit.ir.linear_ir import LinearIR, Loop, Piece, Statement, expressions, is_kind, walk
from snipjit.ir.tensors import Buffer


def parallel_loop(body: list[Statement]) -> Loop | None:
    """The parallel loop that a body consists of, but for buffers that its tasks share."""
    rest = [s for s in body if not isinstance(s, Buffer)]
    only = rest[0] if len(rest) == 1 else None
    return only if isinstance(only, Loop) and only.parallel else None


def parallel_loops(lir: LinearIR) -> list[Loop]:
    """The parallel loops, outermost first: they stand alone at the head of the nest."""
    loops: list[Loop] = []
    body = lir.body
    while (loop := parallel_loop(body)) is not None:
        loops.append(loop)
        body = loop.body
    return loops


def task_body(lir: LinearIR) -> list[Statement]:
    """What stands inside the parallel loops."""
    loops = parallel_loops(lir)
    return loops[-1].body if loops else lir.body


def join_of(loop: Loop) -> Loop | None:
    """Where the iterations of a parallel loop meet, if it is split."""
    joins = (s for s in loop.body if is_kind(s, "join"))
    return next(joins, None) if loop.parallel else None


def split_loop(lir: LinearIR) -> Loop | None:
    """The innermost parallel loop, if its iterations meet at a join."""
    return next((loop for loop in parallel_loops(lir)[-1:] if join_of(loop)), None)


def shared_buffers(lir: LinearIR) -> dict[str, Buffer]:
    """The buffers that tasks share: those declared around a parallel loop."""
    bodies = [lir.body, *(loop.body for loop in parallel_loops(lir)[:-1])]
    found = [s for body in bodies if parallel_loop(body) for s in body if isinstance(s, Buffer)]
    return {buffer.name: buffer for buffer in found}


def streams(lir: LinearIR) -> bool:
    """Whether any axis is streamed; else all products are of tensors of the call."""
    return any(plan.role == "stream" for plan in lir.plans.values())


def streams_whole(lir: LinearIR) -> bool:
    """Whether what is streamed has no blocks: rows are short, or read from a cache."""
    return any(plan.role == "stream" and not plan.block for plan in lir.plans.values())


def kept_buffers(body: list[Statement]) -> set[str]:
    """The buffers that hold what was filled in before, also from one task to the next."""
    filled = [s for s, _ in walk(body) if is_kind(s, "once")]
    stores = (e for s in filled for e in expressions(s.body) if e.op == "store")
    return {e.inputs[0] for e in stores}


def most(lir: LinearIR, axis: str, loops: Iterable[Loop]) -> int | None:
    """The most elements of an axis that loops leave at once; None if that is unbounded."""
    steps = [loop.step for loop in loops if loop.axis == axis and not join_of(loop)]
    return steps[-1] if steps else lir.axes[axis]


def panel_axes(lir: LinearIR) -> list[str]:
    """The axes that tasks have panels of, outer to inner."""
    return [axis for axis, plan in lir.plans.items() if plan.panel]


def is_part_of_vector(lir: LinearIR, axis: str) -> bool:
    """Whether panels have less than a vector of an axis: only products are in them."""
    return axis in lir.lanes and 0 < lir.plans[axis].panel < lir.width and not streams(lir)


def in_vectors(lir: LinearIR, axis: str, body: Iterable[Statement]) -> bool:
    """Whether anything in a body has whole vectors of an axis, if there are as many."""
    return any(lir.vector_axis((*e.type.axes, *e.over)) == axis for e in expressions(body))


def holds_pairs(body: list[Statement], axis: str) -> bool:
    """Whether anything in a body has or multiplies pairs of an axis."""
    return any(axis in (e.type.pairs, e.attrs.get("pairs")) for e in expressions(body))


def least_remainder(loop: Loop, piece: Piece, width: int, rest: int = 0) -> int:
    """The least that must remain for a piece of a tile loop to run, if ``rest`` remains."""
    if loop.even:
        return (piece.step - 1) * -(-rest // loop.step) + 1
    if not piece.masked:
        return piece.step
    return 1 if piece is loop.pieces[-1] else piece.step - width + 1


def is_block_loop(loop: Loop) -> bool:
    """Whether a body of the loop holds another loop over its axis, which then does the tiles."""
    inside = (s for piece in loop.pieces for s, _ in walk(piece.body))
    return any(isinstance(s, Loop) and s.axis == loop.axis for s in inside)
