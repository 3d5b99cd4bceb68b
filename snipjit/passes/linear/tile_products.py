"""TileProducts: which products are meant for tile registers."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.linear_ir import Expression, LinearIR, Loop, walk
from snipjit.loop_nest import is_bounded, most, parallel_loops, task_body
from snipjit.passes.base import Pass
from snipjit.target_machine import TargetMachine
from snipjit.tensors import Tensor


@dataclass(frozen=True)
class TileProducts(Pass):
    """Mark the products of pairs that tile registers can sum: those of several rows and pairs.

    Tiles go by whole registers, beyond the end of any axis. Their factors must therefore lie in
    buffers, which have room for that and are padded: inputs have to be packed, of which a task or
    a block needs a bounded part. Where pairs are neighbours in memory none may be left with one.

    Before:  for n step 128 { %o = brgemm %p.bf16 %v %o {over=(n), pairs=n} : f32[e m] }
    After:   for n step 128 { %o = brgemm %p.bf16 %v %o {over=(n), pairs=n, tiles=true} : f32[e m] }
    """

    target: TargetMachine

    def run(self, lir: LinearIR) -> LinearIR:
        """Mark every product of the kernel that qualifies."""
        parallel = parallel_loops(lir)
        for statement, inner in walk(task_body(lir)) if self.target.tiles else ():
            if isinstance(statement, Expression) and "pairs" in statement.attrs:
                loops = (*parallel, *inner)
                inputs = [lir.tensors[n] for n in statement.inputs[:2] if n in lir.tensors]
                packed = all(_can_be_packed(lir, tensor, statement, loops) for tensor in inputs)
                if packed and _has_several(lir, statement, loops):
                    statement.attrs = {**statement.attrs, "tiles": True}
        return lir


def _can_be_packed(lir: LinearIR, tensor: Tensor, e: Expression, loops: tuple[Loop, ...]) -> bool:
    """Whether loops leave a bounded part, which can be loaded along the innermost axis."""
    pairs, unit = e.attrs["pairs"], tensor.unit_axis
    if not is_bounded(lir, tensor.axes, loops):
        return False
    if unit == pairs:
        return (lir.axes[pairs] or 1) % 2 == 0
    in_lanes = bool({*lir.lanes} & {*tensor.axes})
    return in_lanes or unit not in (None, *(loop.axis for loop in loops if loop.parallel))


def _has_several(lir: LinearIR, e: Expression, loops: tuple[Loop, ...]) -> bool:
    """Whether the result has rows besides lanes, and whether there are pairs to sum."""
    rows = [a for a in e.type.axes if a not in lir.lanes and most(lir, a, loops) != 1]
    return bool(rows) and all(lir.axes[axis] != 1 for axis in e.over)


def products_in_tiles(lir: LinearIR) -> list[Expression]:
    """The products that are meant for tiles."""
    return [e for e in lir.expressions() if e.attrs.get("tiles")]
