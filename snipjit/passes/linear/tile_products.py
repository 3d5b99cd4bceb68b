"""Which products tile registers sum: a part of ChooseSchedule."""

from __future__ import annotations

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.reach import Reach
from snipjit.ir.tensors import Tensor


def mark_tiles(lir: LinearIR) -> None:
    """Mark the products of pairs that tile registers can sum: those of several rows and pairs.

    Tiles go by whole registers, beyond the end of any axis. Their factors must therefore lie in
    buffers, which have room for that and are padded: inputs have to be packed, of which a task or
    a block needs a bounded part. Where pairs are neighbours in memory none may be left with one.
    """
    lir.body = [
        e.with_attrs(tiles=True) if "pairs" in e.attrs and _fits(lir, e) else e
        for e in lir.expressions()
    ]


def _fits(lir: LinearIR, e: Expression) -> bool:
    reach = Reach.of(lir, e)
    inputs = [lir.tensors[name] for name in e.inputs[:2] if name in lir.tensors]
    packed = all(_can_be_packed(lir, tensor, e, reach) for tensor in inputs)
    return packed and _has_several(lir, e, reach)


def _can_be_packed(lir: LinearIR, tensor: Tensor, e: Expression, reach: Reach) -> bool:
    """Whether loops leave a bounded part, which can be loaded along the innermost axis."""
    pairs, unit = e.attrs["pairs"], tensor.unit_axis
    if not reach.is_bounded(tensor.axes):
        return False
    if unit == pairs:
        return (lir.axes[pairs] or 1) % 2 == 0
    in_lanes = bool({*lir.lanes} & {*tensor.axes})
    return in_lanes or unit not in (None, *reach.task_axes)


def _has_several(lir: LinearIR, e: Expression, reach: Reach) -> bool:
    """Whether the result has rows besides lanes, and whether there are pairs to sum."""
    rows = [axis for axis in e.type.axes if axis not in lir.lanes and reach.most(axis) != 1]
    return bool(rows) and all(lir.axes[axis] != 1 for axis in e.over)


def products_in_tiles(lir: LinearIR) -> list[Expression]:
    """The products that are meant for tiles."""
    return [e for e in lir.expressions() if e.attrs.get("tiles")]
