"""ChooseSchedule: axes and their sizes, and where factors are read: what later passes obey."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import lcm

from snipjit.errors import UnsupportedError
from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.schedule import SYNTHETIC_LANES, AxisPlan, Role, Schedule
from snipjit.passes.linear.feature_plans import feature_plans
from snipjit.passes.linear.layer_columns import column_axis, converts_factors, follow_in_vectors
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.passes.linear.operand_reads import choose_reads
from snipjit.passes.linear.tile_products import mark_tiles
from snipjit.target.candidates import Candidate, candidate
from snipjit.target.target_machine import TargetMachine

REDUCTIONS = ("brgemm", "reduce")


@dataclass(frozen=True)
class ChooseSchedule(LinearPass):
    """Say of each axis what it is for, and how many elements of it each kind of loop takes; of each
    product whether it is one of tile registers, and where it reads its factors.

    Axes that every product, reduction and result keeps are batch axes, or rows: the one in lanes,
    or, if none is, those that an input of each product lacks. The stream is the axis that values
    carry and reductions remove; dynamic ones all are. It is the only pass that asks. How
    many there are is the candidate's, halved as often as its buffers were too large. Where columns
    make panels of less than a vector they become a lanes axis, for what follows the products.

    Before:  axis b ; axis m ; axis n ; axis d = 64
             %s = brgemm %q %k {over=(d)} : f32[b n m] ; %x = reduce %s {over=(n)} : f32[b m]
    After:   axis b : batch task 1 …
             axis m : rows task 192 panel 48 …
             axis n : stream block 128 tile 8 vectors 8 unroll 4
             axis d = 64 : contraction tile 8 vectors 8 unroll 4
             %s = brgemm %q %k {over=(d), read=(task, place)} : f32[b n m] ; …
    """

    target: TargetMachine
    schedule: Schedule = Schedule.ROWS
    halvings: int = 0

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Write the plan of every axis."""
        if self.schedule is Schedule.FEATURES:
            lir.plans = feature_plans(lir, candidate(self.target, self.schedule))
            return lir
        chosen = _Chooser(lir, self.target, self.schedule)
        lir.plans = chosen.plans()
        if chosen.layer is not None and follow_in_vectors(lir, chosen.layer):
            lir.lanes = (chosen.layer, *lir.lanes)
        for _ in range(self.halvings):
            _halve(lir)
        if self.target.tiles and self.schedule is Schedule.ROWS:
            mark_tiles(lir)
        choose_reads(lir, chosen.numbers.packs)
        return lir


def _halve(lir: LinearIR) -> None:
    """Halve the largest size that buffers have; UnsupportedError if none is left."""
    sizes = [
        (size, axis, name)
        for axis, plan in lir.plans.items()
        for name, size in (("task", plan.task), ("block", plan.block))
        if size > (max(lir.width, 1) if axis in lir.lanes else 1)
    ]
    if not sizes:
        raise UnsupportedError("no block of the kernel is small enough for the scratchpad")
    size, axis, name = max(sizes)
    lir.plans[axis] = _at_most(lir, axis, name, size // 2)


def _at_most(lir: LinearIR, axis: str, name: str, size: int) -> AxisPlan:
    """The plan of an axis with a smaller task or block, and nothing in it that is larger."""
    plan = lir.plans[axis]
    pairs = any(e.attrs.get("pairs") == axis for e in lir.expressions())
    granule = lir.width * (2 if pairs else 1) if axis in lir.lanes else 1
    size = -(-size // granule) * granule
    if name == "block":
        return replace(plan, block=size, chunk=plan.chunk // size * size)
    panel, held = (min(one, size) for one in (plan.panel, plan.held))
    return replace(plan, task=size, panel=panel, held=held if plan.panel else plan.held)


@dataclass
class _Chooser:
    """The plans of one kernel.

    shared  rows, outer to inner
    wide    the axis in lanes that every product and every result has, of which tasks have parts
    layer   the columns of linear layers that go by columns
    """

    lir: LinearIR
    target: TargetMachine
    schedule: Schedule

    def __post_init__(self) -> None:
        columns = self.schedule is Schedule.COLUMNS
        self.wide = None if columns else _wide_axis(self.lir, self.schedule)
        self.layer = column_axis(self.lir) if columns else None
        self.numbers = self._numbers()
        if self.layer and converts_factors(self.lir):
            rows = min(self.numbers.layer_rows, self.numbers.tile)
            self.numbers = replace(self.numbers, layer_rows=rows)
        self.roles = _roles(self.lir, self.wide, self.schedule)
        self.shared = [axis for axis, role in self.roles.items() if role == "rows"]

    def _numbers(self) -> Candidate:
        """Those of the candidate, with panels of whole blocks where a tensor was prepared so.

        If nothing is packed, tasks have fewer rows and longer blocks of the sum.
        """
        numbers, lanes = candidate(self.target, self.schedule), self.target.lanes
        tensors = [tensor for tensor in self.lir.tensors.values() if tensor.block is not None]
        found = [tensor.block for tensor in tensors if tensor.block is not None]
        if not found:
            return numbers
        numbers = replace(candidate(self.target, Schedule.OUTPUTS), packs=numbers.packs)
        if not (numbers.packs and any(tensor.element.is_narrow for tensor in tensors)):
            numbers = replace(numbers, task=numbers.ready, depth=numbers.ready_depth)
        size = lcm(lanes, *(block for _, block in found))
        if any(block % lanes for _, block in found):
            raise UnsupportedError(f"a tensor lies in blocks that are no multiple of {lanes} lanes")
        if any(axis != self.wide or axis not in self.lir.lanes for axis, _ in found):
            raise UnsupportedError("a tensor lies in blocks of an axis that is not in lanes")
        panel = max(numbers.panel // size, 1) * size
        tile = max(numbers.tile * numbers.vectors * lanes // panel, 1)
        return replace(numbers, panel=panel, columns=4 * panel, tile=tile, vectors=panel // lanes)

    def plans(self) -> dict[str, AxisPlan]:
        """The plan of each axis that anything has."""
        return {axis: self._plan(axis) for axis in self.lir.axes if axis in self.roles}

    def _plan(self, axis: str) -> AxisPlan:
        numbers, role = self.numbers, self.roles[axis]
        tile, vectors, unroll = numbers.tile, numbers.vectors, numbers.unroll
        tiles = self.target.tiles and self.schedule is Schedule.ROWS
        held = numbers.held if tiles else 0
        plan = AxisPlan(role, self._task(axis), 0, 0, 0, tile, vectors, unroll, held)
        if role == "stream":
            return replace(plan, block=numbers.block, chunk=numbers.chunk)
        if role == "contraction":
            return replace(plan, block=self._depth(axis))
        if panel := self._panel(axis) if plan.task > 1 else 0:
            held = numbers.held_panel if axis in self.lir.lanes else panel
            return replace(plan, panel=panel, held=held if tiles else 0)
        return plan

    def _task(self, axis: str) -> int:
        """How much of an axis a task takes; 0 for all of it."""
        role = self.roles[axis]
        if axis == self.layer:
            return self.numbers.layer
        if self.layer and role == "rows":
            return max(self.numbers.task, self.numbers.layer_rows)
        if axis == self.wide and self.schedule is Schedule.ROWS:
            return self.numbers.layer
        if role == "rows":
            return self.numbers.task if self._is_inner(axis) else min(self.numbers.task, OUTER_ROWS)
        if role == "columns":
            return self._columns(axis) if axis == self.wide or self._is_dynamic(axis) else 0
        return 1 if role == "batch" else 0

    def _columns(self, axis: str) -> int:
        """Columns of a task: whole panels, few enough for some tasks."""
        columns, size, panel = self.numbers.columns, self.lir.axes[axis], self.numbers.panel
        while size and size < columns * self.numbers.tasks and not columns % (2 * panel):
            columns //= 2
        return columns

    def _panel(self, axis: str) -> int:
        """How much of an axis a panel has, whose register tiles have all of it; 0 without panels.

        Of several row axes those that are not unrolled have one element.
        """
        rows = self.roles[axis] == "rows"
        if not self.schedule.by_outputs:
            if axis == self.layer:
                return self.numbers.beside
            first = axis == self.shared[0] if rows else False
            panel = self.numbers.layer_rows if self.layer else self.numbers.panel
            return panel if first else int(rows)
        if self.wide is not None:
            return self.numbers.panel if axis == self.wide else 0
        return (self.numbers.tile if self._is_inner(axis) else 1) if rows else 0

    def _depth(self, axis: str) -> int:
        """How much of a contracted axis a block has: of one that is long, if nothing else is
        streamed."""
        size, depth = self.lir.axes[axis], self.numbers.depth
        alone = [*self.roles.values()].count("contraction") == 1 and "stream" not in {
            *self.roles.values()
        }
        return depth if alone and (size is None or size > 2 * depth) else 0

    def _is_inner(self, axis: str) -> bool:
        return not self.schedule.by_outputs or axis == self.shared[-1]

    def _is_dynamic(self, axis: str) -> bool:
        return self.lir.axes[axis] is None


OUTER_ROWS = 32
"""Most elements in a task of a row axis that has another inside it."""


def _wide_axis(lir: LinearIR, schedule: Schedule) -> str | None:
    """The axis in the last lanes that every product and result has, and none sums over."""
    anchors = [e for e in lir.expressions() if e.op in ("brgemm", "store")]
    reduced = {axis for e in lir.expressions() for axis in e.over}
    axis = lir.lanes[-1] if schedule.by_outputs else column_axis(lir)
    if axis is None or axis in reduced or not all(axis in e.type.axes for e in anchors):
        return None
    return axis


def _roles(lir: LinearIR, wide: str | None, schedule: Schedule) -> dict[str, Role]:
    """The role of each axis, in the order of the axes."""
    kept = [axis for axis in _kept_axes(lir) if axis != wide]
    reduced = {axis for e in lir.expressions() for axis in e.over}
    products = any(e.op == "brgemm" for e in lir.expressions())
    rows = _row_axes(lir, kept) if products or not schedule.by_outputs else kept
    stored = {axis for e in lir.expressions() if e.op == "store" for axis in e.type.axes}
    columns = [axis for axis in lir.axes if axis in stored - reduced and axis not in kept]
    streams = _streamed_axes(lir, [*kept, *(axis for axis in columns if lir.axes[axis] is None)])
    found: list[tuple[Role, Iterable[str]]] = [
        ("contraction", lir.axes),
        ("columns", columns),
        ("batch", kept),
        ("rows", rows),
        ("stream", streams),
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


def _streamed_axes(lir: LinearIR, parallel: list[str]) -> list[str]:
    """The axes that computed values carry and reductions remove: the dynamic ones, or the first.

    Raises UnsupportedError where one operation would be streamed along two of them.
    """
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
    for e in flat:
        if len(both := [axis for axis in dynamic if axis in (*e.type.axes, *e.over)]) > 1:
            raise UnsupportedError(
                f"axes {', '.join(both)} are all of unknown size, carried by values and reduced; "
                "of one operation one such axis is accepted (give the others a static size)"
            )
    return dynamic or axes[:1]
