"""ChooseSchedule: axes and their sizes, and where factors are read: what later passes obey."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from snipjit.errors import UnsupportedError
from snipjit.linear_ir import Expression, LinearIR
from snipjit.passes.base import Pass
from snipjit.passes.linear.operand_reads import choose_reads
from snipjit.passes.linear.tile_products import mark_tiles
from snipjit.schedule import SYNTHETIC_LANES, AxisPlan, Role
from snipjit.target_machine import TargetMachine

REDUCTIONS = ("brgemm", "reduce")


@dataclass(frozen=True)
class ChooseSchedule(Pass):
    """Say of each axis what it is for, and how many elements of it each kind of loop takes; of each
    product whether it is one of tile registers, and where it reads its factors.

    Axes that every product, reduction and result keeps are batch axes, or rows: the one in lanes,
    or, if none is, those that an input of each product lacks. The stream is the axis that values
    carry and reductions remove, a dynamic one if there is one. It is the only pass that asks.

    Before:  axis b ; axis m ; axis n ; axis d = 64
             %s = brgemm %q %k {over=(d)} : f32[b n m] ; %x = reduce %s {over=(n)} : f32[b m]
    After:   axis b : batch task 1 …
             axis m : rows task 192 panel 48 …
             axis n : stream block 128 tile 8 vectors 8 unroll 4
             axis d = 64 : contraction tile 8 vectors 8 unroll 4
             %s = brgemm %q %k {over=(d), read=(task, place)} : f32[b n m] ; …
    """

    target: TargetMachine

    def run(self, lir: LinearIR) -> LinearIR:
        """Write the plan of every axis."""
        roles = _roles(lir)
        lir.plans = {axis: self._plan(lir, axis, roles) for axis in lir.axes if axis in roles}
        if self.target.tiles and _is_by_rows(lir, roles):
            mark_tiles(lir)
        choose_reads(lir)
        return lir

    def _plan(self, lir: LinearIR, axis: str, roles: dict[str, Role]) -> AxisPlan:
        target, role = self.target, roles[axis]
        in_lanes = axis in lir.lanes
        by_rows = _is_by_rows(lir, roles)
        plan = AxisPlan(
            role,
            task=self._task(lir, axis, role),
            tile=target.tile[0],
            vectors=target.column_vectors,
            unroll=target.unroll,
            held=target.tile_rows if target.tiles else 0,
        )
        if role == "stream":
            block = target.block if by_rows else target.column_block
            return replace(plan, block=block, chunk=0 if by_rows else target.chunk)
        if role == "rows" and plan.task > 1:
            panel, held = self._panel(axis, in_lanes, roles)
            return replace(plan, panel=panel, held=held if target.tiles else 0)
        return plan

    def _task(self, lir: LinearIR, axis: str, role: Role) -> int:
        """How much of an axis a task takes; 0 for all of it."""
        target = self.target
        if role == "rows":
            in_lanes = axis in lir.lanes
            return target.task_vectors * target.lanes if in_lanes else target.task_rows
        if role == "columns":
            return 8 * target.tile[0] if lir.axes[axis] is None else 0
        return 1 if role == "batch" else 0

    def _panel(self, axis: str, in_lanes: bool, roles: dict[str, Role]) -> tuple[int, int]:
        """Rows of a panel, in vectors and in tile registers; of further row axes one."""
        target = self.target
        if axis != next(a for a, role in roles.items() if role == "rows"):
            return 1, 1
        if not in_lanes:
            return target.row_tile, target.row_tile
        return target.tile[1] * target.lanes, target.tile_vectors * target.lanes


def _is_by_rows(lir: LinearIR, roles: dict[str, Role]) -> bool:
    """Whether rows lie in lanes."""
    return any(roles[axis] in ("batch", "rows") for axis in lir.lanes)


def _roles(lir: LinearIR) -> dict[str, Role]:
    """The role of each axis, in the order of the axes."""
    kept = _kept_axes(lir)
    rows, reduced = _row_axes(lir, kept), {axis for e in lir.expressions() for axis in e.over}
    stored = {axis for e in lir.expressions() if e.op == "store" for axis in e.type.axes}
    columns = [axis for axis in lir.axes if axis in stored - reduced and axis not in kept]
    stream = _streamed_axis(lir, [*kept, *(axis for axis in columns if lir.axes[axis] is None)])
    found: list[tuple[Role, Iterable[str]]] = [
        ("contraction", lir.axes),
        ("columns", columns),
        ("batch", kept),
        ("rows", rows),
        ("stream", [stream] if stream is not None else []),
    ]
    return {axis: role for role, axes in found for axis in axes}


def _kept_axes(lir: LinearIR) -> list[str]:
    """The axes of every product, reduction and result; the one in lanes last."""
    anchors = [e for e in lir.expressions() if e.op in (*REDUCTIONS, "store")]
    reduced = {axis for e in anchors for axis in e.over}
    kept = {
        axis
        for axis in lir.axes
        if axis not in reduced and all(axis in e.type.axes for e in anchors)
    }
    kept |= {SYNTHETIC_LANES} & {*lir.axes}
    return list(lir.sort_axes(kept))


def _row_axes(lir: LinearIR, kept: list[str]) -> list[str]:
    """The kept axes of which a task takes a block, because its elements share what is streamed.

    That is the one in lanes; if none is, those that some input of every product lacks. Without
    products there are none.
    """
    if in_lanes := [axis for axis in kept if axis in lir.lanes]:
        return in_lanes
    products = [e for e in lir.expressions() if e.op == "brgemm"]
    shared = [_lacking(lir, e, kept) for e in products]
    return [axis for axis in kept if shared and all(axis in lacking for lacking in shared)]


def _lacking(lir: LinearIR, product: Expression, kept: list[str]) -> set[str]:
    tensors = [lir.tensors[name] for name in product.inputs[:2] if name in lir.tensors]
    return {axis for axis in kept if any(axis not in tensor.axes for tensor in tensors)}


def _streamed_axis(lir: LinearIR, parallel: list[str]) -> str | None:
    """The axis that computed values carry and reductions remove; a dynamic one comes first."""
    flat = lir.expressions()
    carried = {axis for e in flat if e.op != "fill" for axis in e.type.axes}
    reduced = {axis for e in flat for axis in e.over}
    loads = {a for e in flat if e.op == "reduce" for a in e.over}
    axes = [
        axis
        for axis in lir.axes
        if axis in reduced and axis in carried | loads and axis not in parallel
    ]
    dynamic = [axis for axis in axes if lir.axes[axis] is None]
    if len(dynamic) > 1:
        names = ", ".join(dynamic)
        raise UnsupportedError(
            f"axes {names} are all of unknown size, carried by values and reduced; "
            "one such axis is accepted (give the others a static size)"
        )
    return next(iter(dynamic or axes), None)
