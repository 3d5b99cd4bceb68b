"""TileProducts: which products are meant for tile registers."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.linear_ir import Expression, LinearIR, Loop, walk
from snipjit.loop_nest import most, parallel_loops, task_body
from snipjit.passes.base import Pass
from snipjit.target_machine import TargetMachine


@dataclass(frozen=True)
class TileProducts(Pass):
    """Mark the products of pairs that tile registers can sum: over whole rows of registers.

    Both factors must fill the rows: a static axis does if its size is a multiple, a block of a
    streamed axis is padded with zeros. That it can only be in a buffer: an input whose innermost
    axis is the streamed one would be read beyond its end.

    Before:  for n step 128 { %o = brgemm %p.bf16 %v %o {over=(n), pairs=n} : f32[e m] }
    After:   for n step 128 { %o = brgemm %p.bf16 %v %o {over=(n), pairs=n, tiles=true} : f32[e m] }
    """

    target: TargetMachine

    def run(self, lir: LinearIR) -> LinearIR:
        """Mark every product of the kernel that qualifies."""
        for statement, loops in walk(task_body(lir)) if self.target.tiles else ():
            if isinstance(statement, Expression) and "pairs" in statement.attrs:
                axis = statement.attrs["pairs"]
                streamed = any(loop.axis == axis for loop in loops)
                packed = streamed and self._is_packed(lir, statement, loops)
                if packed or (not streamed and self._is_whole(lir, axis)):
                    statement.attrs["tiles"] = True
        return lir

    def _is_whole(self, lir: LinearIR, axis: str) -> bool:
        """Whether a static axis fills rows of registers."""
        return (lir.axes[axis] or 1) % (2 * self.target.lanes) == 0

    def _is_packed(self, lir: LinearIR, e: Expression, loops: tuple[Loop, ...]) -> bool:
        """Whether inputs will be brought into buffers, because their pairs are not neighbours."""
        inputs = [lir.tensors[name] for name in e.inputs[:2] if name in lir.tensors]
        parallel = parallel_loops(lir)
        bounded = [most(lir, a, (*parallel, *loops)) is not None for t in inputs for a in t.axes]
        direct = (None, e.attrs["pairs"], *(loop.axis for loop in parallel))
        return all(bounded) and all(tensor.unit_axis not in direct for tensor in inputs)


def in_tiles(lir: LinearIR) -> list[Expression]:
    """The products that are meant for tiles."""
    found = (s for s, _ in lir.walk() if isinstance(s, Expression))
    return [e for e in found if e.attrs.get("tiles")]
