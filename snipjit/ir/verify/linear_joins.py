"""What is legal around joins: one chunk does for all what they have left in shared buffers."""

from __future__ import annotations

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Statement, expressions, is_kind
from snipjit.ir.loop_nest import shared_buffers
from snipjit.ir.tensors import Buffer
from snipjit.ir.verify.linear_loops import fault


def check_joins(lir: LinearIR) -> None:
    """Raise VerificationError if a join stands where none can, or buffers are shared wrongly."""
    joins = [(s, loops) for s, loops in lir.walk() if is_kind(s, "join")]
    for join, loops in joins:
        _check_place(lir, join, loops)
        _check_bodies(lir, join)
        _check_work(lir, join, loops[-1])
    shared = shared_buffers(lir)
    for buffer in shared.values():
        if len(joins) != 1:
            raise fault(lir, buffer, f"%{buffer.name} is shared, for which there must be one join")
        _check_buffer(lir, buffer, joins[0][0])


def _check_place(lir: LinearIR, join: Loop, loops: tuple[Loop, ...]) -> None:
    direct = loops and all(loop.parallel for loop in loops)
    if not direct or [s for s in loops[-1].body if is_kind(s, "join")] != [join]:
        raise fault(lir, join, "a join stands alone, in the body of the innermost parallel loop")
    if lir.axes[join.axis] is None or join.axis in {loop.axis for loop in loops}:
        raise fault(lir, join, f"axis {join.axis} has no static size of its own to number chunks")


def _check_bodies(lir: LinearIR, join: Loop) -> None:
    if len(join.pieces) != 2 or any(p.step != 1 or p.masked for p in join.pieces):
        raise fault(lir, join, "a join has a body for each chunk and one for the last")


def _check_work(lir: LinearIR, join: Loop, split: Loop) -> None:
    """Before the join chunks write what is theirs; from there on their axis has no meaning."""
    at = next(i for i, s in enumerate(split.body) if s is join)
    outputs = {tensor.name for tensor in lir.outputs}
    for e in expressions(split.body[: at + 1]):
        if e.op == "store" and e.inputs[0] in outputs and split.axis not in e.type.axes:
            raise fault(lir, e, f"every chunk of axis {split.axis} would store %{e.inputs[0]}")
    for e in expressions(split.body[at:]):
        if split.axis in (*e.type.axes, *e.over):
            raise fault(lir, e, f"a chunk of axis {split.axis} has ended at the join")


def _check_buffer(lir: LinearIR, buffer: Buffer, join: Loop) -> None:
    """A place for each chunk; what one leaves there in the first body is read in the second."""
    name = buffer.name
    if buffer.axes[:1] != (join.axis,) or buffer.extents[join.axis] != lir.axes[join.axis]:
        wanted = f"[{join.axis}:{lir.axes[join.axis]}]"
        raise fault(lir, buffer, f"%{name} is shared: its outermost axis must be {wanted}")
    allowed = [*_moves(join.body, "store", name), *_moves(join.last, "load", name)]
    everywhere = [*_moves(lir.body, "store", name), *_moves(lir.body, "load", name)]
    if strange := [e for e in everywhere if all(e is not other for other in allowed)]:
        message = f"%{name} is shared: each chunk stores it in the join, the last one loads it"
        raise fault(lir, strange[0], message)


def _moves(body: list[Statement], op: str, tensor: str) -> list[Expression]:
    return [e for e in expressions(body) if e.op == op and e.inputs[0] == tensor]
