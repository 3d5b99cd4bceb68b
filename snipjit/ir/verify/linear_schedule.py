"""What is legal in the plans of axes at the head of a LinearIR."""

from __future__ import annotations

from collections.abc import Iterator

from snipjit.errors import VerificationError
from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.loop_nest import is_part_of_vector
from snipjit.ir.reach import Reach
from snipjit.ir.schedule import HOMES, AxisPlan, Home
from snipjit.ir.verify.linear_loops import fault


def check_schedule(lir: LinearIR) -> None:
    """Raise VerificationError for plans that no pass can obey."""
    for axis, plan in lir.plans.items():
        for wrong in _faults(lir, axis, plan):
            raise VerificationError(f"{lir.name}: axis {axis} ({plan.role}): {wrong}")
    for e in lir.expressions():
        axes = (*e.type.axes, *e.over)
        blocked = [axis for axis in axes if axis in lir.plans and lir.plans[axis].block]
        if len({*blocked}) > 1:
            raise fault(lir, e, f"axes {', '.join(blocked)} have blocks: one can")
        for wrong in _read_faults(lir, e) if "read" in e.attrs else ():
            raise fault(lir, e, wrong)


def _read_faults(lir: LinearIR, e: Expression) -> Iterator[str]:
    """What is wrong with where a product reads its factors."""
    read = e.attrs["read"]
    if not isinstance(read, tuple) or len(read) != 2:
        yield "read says where two factors are read"
        return
    for name, home in zip(e.inputs, read, strict=False):
        if home not in HOMES:
            yield f"{home}: a factor is read in one of {', '.join(HOMES)}"
        elif home in ("task", "block", "tile"):
            yield from _pack_faults(lir, e, name, home)
        prepared = name in lir.tensors and lir.tensors[name].block is not None
        if home == "place" if prepared else home == "prepared":
            yield f"%{name} {'lies' if prepared else 'does not lie'} in blocks in memory"


def _pack_faults(lir: LinearIR, e: Expression, name: str, home: Home) -> Iterator[str]:
    tensor = lir.tensors.get(name)
    if tensor is None:
        yield f"%{name} is no input, which alone is packed"
        return
    reach = Reach.of(lir, e) if home != "task" else Reach(lir, streams=False)
    for axis in tensor.axes:
        if reach.most(axis) is None:
            yield f"packed once a {home}, %{name} grows with axis {axis}"


def _faults(lir: LinearIR, axis: str, plan: AxisPlan) -> Iterator[str]:
    """What is wrong with the plan of an axis."""
    kept = plan.role in ("batch", "rows")
    if kept != bool(plan.task) and plan.role != "columns":
        yield f"it {'needs a' if kept else 'has no'} task"
    if plan.role == "batch" and plan.task > 1:
        yield "a task has one element"
    products = any(e.op == "brgemm" for e in lir.expressions())
    if plan.role == "stream" and not plan.block and products:
        yield "it needs a block"
    if plan.role == "lanes" and (lir.axes[axis] != lir.width or axis not in lir.lanes):
        yield f"it does not number {lir.width} lanes"
    if plan.strip > plan.task:
        yield f"strip {plan.strip} is more than task {plan.task}"
    if plan.block and plan.role not in ("stream", "contraction"):
        yield "it has no block"
    if plan.chunk and plan.role != "stream":
        yield "only a stream has chunks"
    if plan.chunk % max(plan.block, 1) and plan.block % max(plan.chunk, 1):
        yield f"chunks of {plan.chunk} and blocks of {plan.block} do not fit each other"
    yield from _panel_faults(lir, axis, plan)
    if not plan.tile or not plan.unroll:
        yield "it needs a tile and an unroll"


def _panel_faults(lir: LinearIR, axis: str, plan: AxisPlan) -> Iterator[str]:
    """What is wrong with panels: of products alone they may have less than a vector."""
    if plan.panel and plan.role not in ("rows", "columns"):
        yield "only rows and columns have panels"
    for name, panel in (("panel", plan.panel), ("held", plan.held if plan.panel else 0)):
        if panel > plan.task:
            yield f"{name} {panel} is more than task {plan.task}"
        size = plan.task if not panel or is_part_of_vector(lir, axis) else panel
        if axis in lir.lanes and size % lir.width:
            yield f"{name} {size} is no multiple of {lir.width} lanes"
