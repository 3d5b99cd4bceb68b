"""PadBuffers: zeros behind what a block has, for products that sum whole rows of tiles."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Statement, bodies, expressions
from snipjit.ir.tensors import Buffer
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class PadBuffers(LinearPass):
    """Pad the buffers that masked sums read, as soon as they are written.

    Before:  buffer %p.buffer : bf16[n:128][m:32] pairs n
             for n step 4 { … store %p.buffer %p }
             for n step 32 masked { %p = load %p.buffer ; %o = fma %v %p %o {tiles=true …} }
    After:   buffer %p.buffer : bf16[n:128][m:32] pairs n
             for n step 4 { … store %p.buffer %p }
             pad %p.buffer {axis=n, to=32}
             for n step 32 masked { … }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Pad in every body that declares such a buffer."""
        steps = _masked_sums(lir)
        for body in bodies(lir.body):
            for buffer in [s for s in body if isinstance(s, Buffer)]:
                if (found := steps.get(buffer.name)) is not None:
                    _pad(lir, body, buffer, *found)
        return lir


def _masked_sums(lir: LinearIR) -> dict[str, tuple[str, int]]:
    """The buffers that masked sums read: along which axis, and how much at once."""
    found = {}
    for statement, loops in lir.walk():
        if isinstance(statement, Expression) and statement.op == "load" and loops:
            piece = loops[-1].pieces[0]
            if piece.masked and _is_sum(piece.body, loops[-1].axis):
                found[statement.inputs[0]] = loops[-1].axis, piece.step
    return found


def _is_sum(body: list[Statement], axis: str) -> bool:
    return any(isinstance(s, Expression) and "tiles" in s.attrs and axis in s.over for s in body)


def _pad(lir: LinearIR, body: list[Statement], buffer: Buffer, axis: str, step: int) -> None:
    last = max(i for i, statement in enumerate(body) if _stores(statement, buffer.name))
    type = ValueType(buffer.dtype, lir.sort_axes(buffer.axes), buffer.pairs)
    body.insert(last + 1, Expression("pad", None, (buffer.name,), type, {"axis": axis, "to": step}))


def _stores(statement: Statement, buffer: str) -> bool:
    stores = (e for e in expressions([statement]) if e.op == "store")
    return any(e.inputs[0] == buffer for e in stores)
