"""PrefetchStrided: strided rows are prefetched before a loop that is long enough to hide it."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Statement
from snipjit.ir.regions import rewrite
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class PrefetchStrided(LinearPass):
    """Prefetch what a body loads after a loop, if its lanes are strided in memory.

    Such a tile reads a few elements of each of many rows. The hardware follows some streams, not
    one for each lane; and the load stands behind a whole loop, which is time enough. What is read
    by index is read again and again.

    Before:  for n step 8 {
               for d step 4 { … fma … }
               %b.tile = load %b : f32[n m]            with %b [m][n], lanes m
             }
    After:   for n step 8 {
               prefetch %b : f32[n m]
               for d step 4 { … fma … }
               %b.tile = load %b : f32[n m]
             }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Prefetch in every body."""
        lir.body = rewrite(lir.body, lambda body, _: [*_prefetches(lir, body), *body])
        return lir


def _prefetches(lir: LinearIR, body: list[Statement]) -> list[Statement]:
    """A prefetch for each strided load that stands behind a loop."""
    first = next((i for i, s in enumerate(body) if isinstance(s, Loop)), len(body))
    behind = [s for s in body[first:] if isinstance(s, Expression) and _is_strided(lir, s)]
    return [Expression("prefetch", None, e.inputs, e.type) for e in behind]


def _is_strided(lir: LinearIR, e: Expression) -> bool:
    tensor = lir.tensors.get(e.inputs[0]) if e.op == "load" and len(e.inputs) == 1 else None
    if tensor is None or any(tensor.is_index(axis) for axis in tensor.axes):
        return False
    return lir.vector_axis(tensor.axes) not in (None, tensor.unit_axis)
