"""What is legal in the ports of loops: which tensors each advances, and by how much."""

from __future__ import annotations

from snipjit.ir.linear_ir import STRIDE, LinearIR, Loop, Statement, is_kind, walk
from snipjit.ir.tensors import Buffer, Tensor, is_moved
from snipjit.ir.verify.linear_loops import fault, moved

Tensors = dict[str, Tensor | Buffer]


def check_ports(lir: LinearIR) -> None:
    """Raise VerificationError if a loop does not move what is used inside, or leaves a trace."""
    _check_body(lir, {**lir.tensors, **lir.buffers()}, lir.body, set())


def _check_body(lir: LinearIR, tensors: Tensors, body: list[Statement], later: set[str]) -> None:
    """``later``: the tensors that are used after a body."""
    for position, loop in enumerate(body):
        if not isinstance(loop, Loop):
            continue
        after = later | moved(body[position + 1 :])
        _check_blocks(lir, tensors, loop)
        for piece in loop.pieces:
            wanted = _increments(tensors, loop)
            if is_kind(loop, "join"):
                wanted = wanted if piece is loop.pieces[0] else {}
            found = {port.tensor: port.ptr_increment for port in piece.ports}
            if found != wanted or len(found) != len(piece.ports):
                shown = " ".join(f"%{name} by {step}" for name, step in wanted.items())
                raise fault(lir, loop, f"step {piece.step} must move: {shown or 'nothing'}")
            rewinds = {port.tensor for port in piece.ports if port.rewind}
            last = piece is loop.pieces[-1]
            if missing := (after & set(wanted)) - rewinds if last else rewinds:
                names = ", ".join(f"%{name}" for name in sorted(missing))
                must = "must" if last else "must not"
                raise fault(lir, loop, f"step {piece.step} {must} rewind {names}")
            again = set() if loop.parallel else moved([loop])
            _check_body(lir, tensors, piece.body, after | again)


def _check_blocks(lir: LinearIR, tensors: Tensors, loop: Loop) -> None:
    """Loops over an axis of which a tensor has blocks go by whole ones."""
    for name in sorted(moved([loop])):
        block = getattr(tensors[name], "block", None)
        if block is None or block[0] != loop.axis:
            continue
        if block[1] % lir.width:
            raise fault(lir, loop, f"%{name} has blocks of {block[1]}: no multiple of the lanes")
        for piece in loop.pieces:
            if piece.step % block[1]:
                raise fault(lir, loop, f"step {piece.step}, but %{name} has blocks of {block[1]}")


def _increments(tensors: Tensors, loop: Loop) -> dict[str, int | str]:
    """The pointer increment of every tensor from outside that has the loop's axis."""
    inside = [s for piece in loop.pieces for s, _ in walk(piece.body)]
    local = {s.name for s in inside if isinstance(s, Buffer)}
    return {
        name: _increment(tensors[name], loop.axis)
        for name in sorted(moved(inside))
        if name not in local and is_moved(tensors[name], loop.axis)
    }


def _increment(tensor: Tensor | Buffer, axis: str) -> int | str:
    known = tensor.increment(axis)
    return STRIDE if known is None else known
