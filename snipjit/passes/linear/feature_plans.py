"""Plans of a kernel without products, whose features lie in lanes: a part of ChooseSchedule."""

from __future__ import annotations

from collections.abc import Iterable

from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.schedule import AxisPlan, Role
from snipjit.target.candidates import Candidate


def feature_plans(lir: LinearIR, numbers: Candidate) -> dict[str, AxisPlan]:
    """The plan of each axis, as they lie in memory: whole rows, one after another, some to a task.

    A row stays in the cache of a core: what is read again for the next step of a normalization is
    read from there, and computed again from what is read. A reduction along the lanes is kept in
    parts, one a lane, which ``<axis>.lanes`` numbers. Of rows that are longer than a task, or of
    sums over other axes, tasks have a part of the features.
    """
    roles = _roles(lir)
    plans = {axis: _plan(lir, axis, roles, numbers) for axis in _in_memory(lir) if axis in roles}
    features = lir.lanes[-1]
    if roles.get(features) == "stream":
        lanes = f"{features}.lanes"
        lir.axes[lanes], lir.lanes = lir.width, (lanes, *lir.lanes)
        plans[lanes] = AxisPlan("lanes", tile=numbers.tile, unroll=numbers.unroll)
    return plans


def _in_memory(lir: LinearIR) -> list[str]:
    """All axes, those of the largest result first, from outermost to innermost."""
    largest = max(lir.outputs, key=lambda tensor: len(tensor.axes))
    order = largest.order or range(len(largest.dims))
    own = [axis for number in order for axis in largest.dims[number]]
    return list(dict.fromkeys([*own, *lir.axes]))


def _roles(lir: LinearIR) -> dict[str, Role]:
    """The role of each axis that anything has."""
    flat, features = lir.expressions(), lir.lanes[-1]
    anchors = [e for e in flat if e.op in ("reduce", "store")]
    reduced = {axis for e in flat for axis in e.over}
    stored = {axis for e in anchors for axis in e.type.axes}
    kept = [
        axis
        for axis in lir.axes
        if axis not in reduced and axis != features and all(axis in e.type.axes for e in anchors)
    ]
    found: list[tuple[Role, Iterable[str]]] = [
        ("columns", stored),
        ("stream", reduced),
        ("rows", kept),
    ]
    return {axis: role for role, axes in found for axis in axes}


def _plan(lir: LinearIR, axis: str, roles: dict[str, Role], numbers: Candidate) -> AxisPlan:
    role, task, strip = roles[axis], 0, 0
    if role == "rows":
        task, strip = numbers.elements, 1
    elif role == "columns" and _is_cut(lir, axis, roles, numbers):
        task = numbers.columns if "stream" in roles.values() else numbers.elements
    sizes = {"tile": numbers.tile, "vectors": numbers.vectors, "unroll": numbers.unroll}
    return AxisPlan(role, task=task, strip=strip, **sizes)


def _is_cut(lir: LinearIR, axis: str, roles: dict[str, Role], numbers: Candidate) -> bool:
    """Whether tasks have parts of the features; what lacks them is computed in each."""
    size = lir.axes[axis]
    stores = [e for e in lir.expressions() if e.op == "store"]
    if axis != lir.lanes[-1] or not all(axis in e.type.axes for e in stores):
        return False
    return size is None or size > numbers.elements or "stream" in roles.values()
