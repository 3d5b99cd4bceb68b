"""InitLoops: which tensors each loop advances, and by how much."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.ir.expression import MOVES, Expression
from snipjit.ir.linear_ir import (
    STRIDE,
    LinearIR,
    Loop,
    LoopPort,
    Nest,
    Piece,
    Statement,
    is_kind,
    walk,
)
from snipjit.ir.regions import rewrite
from snipjit.ir.tensors import Buffer, Tensor, is_moved
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class InitLoops(LinearPass):
    """Give every piece of every loop its ports: a pointer increment for each tensor with the axis.

    An increment is in elements per unit of work: known for buffers and innermost axes, the run-time
    stride otherwise. The last piece that can run rewinds the pointer, so that a loop leaves no
    trace; the finalization offset is ``-ptr_increment * work_amount``. The first body of a join
    begins as far in as its number says. The pass may run again after an edit.

    Before:  for n step 8 { %k.tile = load %k ; … }
    After:   for n step 8 moves %k by stride rewind { %k.tile = load %k ; … }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Set the ports of every loop."""
        tensors: dict[str, Tensor | Buffer] = {**lir.tensors, **lir.buffers()}

        def with_ports(body: list[Statement], _: Nest) -> list[Statement]:
            return [_moving(s, tensors) if isinstance(s, Loop) else s for s in body]

        lir.body = rewrite(lir.body, with_ports)
        return lir


def _moving(loop: Loop, tensors: dict[str, Tensor | Buffer]) -> Loop:
    pieces = [replace(piece, ports=_ports(loop, piece, tensors)) for piece in loop.pieces]
    return replace(loop, pieces=pieces)


def _ports(loop: Loop, piece: Piece, tensors: dict[str, Tensor | Buffer]) -> list[LoopPort]:
    last = piece is loop.pieces[-1]
    if is_kind(loop, "join") and last:
        return []
    names = _tensors_of(loop)
    local = {s.name for p in loop.pieces for s, _ in walk(p.body) if isinstance(s, Buffer)}
    return [
        LoopPort(name, _increment(tensors[name], loop.axis), rewind=last)
        for name in names
        if name not in local and is_moved(tensors[name], loop.axis)
    ]


def _tensors_of(loop: Loop) -> list[str]:
    """The tensors that a loop reads or writes, in order of first use."""
    return list(
        dict.fromkeys(
            s.inputs[0]
            for piece in loop.pieces
            for s, _ in walk(piece.body)
            if isinstance(s, Expression) and s.op in MOVES
        )
    )


def _increment(tensor: Tensor | Buffer, axis: str) -> int | str:
    known = tensor.increment(axis)
    return STRIDE if known is None else known
