"""Tasks: how a worker takes them from the call's counter, and where each of them lies."""

from __future__ import annotations

from llvmlite import ir

from snipjit.ir.expression import Expression
from snipjit.ir.loop_nest import join_of, parallel_loops
from snipjit.passes.llvm.emission import POINTER, Emission, Scope, TaskGroup
from snipjit.passes.llvm.emit_operations import emit_scalar
from snipjit.passes.llvm.vector_ir import I1, I8, I64


def worker_scratchpad(emission: Emission) -> ir.Value:
    """This worker's part of the scratchpad."""
    head = emission.entry
    address = emission.field_address(head, "worker")
    worker = head.atomic_rmw("add", address, ir.Constant(I64, 1), "monotonic")
    offset = head.mul(worker, emission.field("pitch"))
    if emission.shared:
        offset = head.add(offset, emission.field("shared"))
    return head.gep(emission.field("scratch", POINTER), [offset], source_etype=I8)


def take_task(emission: Emission, task: ir.Block, leave: ir.Block) -> ir.Value:
    """The number of the next task, or of the one that the task before has claimed."""
    builder = emission.builder
    if any(e.op == "claim" for e in emission.lir.expressions()):
        emission.claimed = emission.entry.alloca(I64)
        emission.entry.store(_next_number(emission, emission.entry), emission.claimed)
        number: ir.Value = builder.load(emission.claimed, typ=I64)
    else:
        number = _next_number(emission, builder)
    inside = builder.icmp_signed("<", number, emission.field("tasks"))
    builder.cbranch(inside, task, leave)
    return number


def _next_number(emission: Emission, builder: ir.IRBuilder) -> ir.Value:
    address = emission.field_address(builder, "counter")
    return builder.atomic_rmw("add", address, ir.Constant(I64, 1), "monotonic")


def enter_task(emission: Emission, number: ir.Value, scratch: ir.Value) -> None:
    """Position, extent and addresses of a task, from its number."""
    builder, lir, scope = emission.builder, emission.lir, Scope()
    scope.counts = {a: lir.width for a, plan in lir.plans.items() if plan.role == "lanes"}
    scope.index = _position(emission, number)
    for loop in parallel_loops(lir):
        step = emission.field(f"step.{loop.axis}")
        rest = builder.sub(emission.field(f"size.{loop.axis}"), scope.index[loop.axis])
        scope.work[loop.axis] = builder.select(builder.icmp_signed("<", rest, step), rest, step)
        if loop.step == 1:
            scope.counts[loop.axis] = 1
    for name in lir.tensors:
        scope.pointers[name] = _address(emission, name, scope.index)
    scope.pointers["scratchpad"] = scratch
    scope.registers = {name: emit_scalar(emission, name) for name in lir.scalars}
    emission.scope = scope


def _position(emission: Emission, number: ir.Value) -> dict[str, ir.Value]:
    """The first element of a task along each axis that tasks share."""
    builder, found = emission.builder, dict[str, ir.Value]()
    for loop in reversed(parallel_loops(emission.lir)):
        blocks = emission.field(f"blocks.{loop.axis}")
        block, number = builder.urem(number, blocks), builder.udiv(number, blocks)
        found[loop.axis] = builder.mul(block, emission.field(f"step.{loop.axis}"))
        if join_of(loop) is not None:
            emission.group = TaskGroup(number, blocks, block)
    return found


def _address(emission: Emission, name: str, position: dict[str, ir.Value]) -> ir.Value:
    """Where a task finds a tensor."""
    pointer = emission.field(f"data.{name}", POINTER)
    for axis in emission.lir.tensors[name].axes:
        if axis in position:
            stride = emission.field(f"stride.{name}.{axis}")
            offset = emission.builder.mul(position[axis], stride)
            pointer = emission.builder.gep(pointer, [offset], source_etype=I8)
    return pointer


def emit_claim(emission: Emission, e: Expression) -> None:
    """Take the next task in the last panel of a task; say where the panel after this one lies.

    Behind the last panel of a block of the sum lies the first of the next block, behind that of a
    task the first of the next task. Where the call has no more it is this panel itself.
    """
    *blocks, axis = e.attrs["axes"]
    builder, scope = emission.builder, emission.scope
    assert scope.around is not None
    assert emission.claimed is not None
    panel, last = ir.Constant(I64, scope.counts[axis]), ir.Constant(I1, 1)
    for summed in blocks:
        last = _is_last(emission, scope, summed, ir.Constant(I64, emission.lir.plans[summed].block))
    ends = _is_last(emission, scope, axis, panel)
    is_last = builder.and_(last, ends)
    names = sorted(_asked_ahead(emission, axis))
    places = {name: emission.entry.alloca(POINTER) for name in names}
    for name, place in places.items():
        builder.store(scope.pointers[name], place)
    with builder.if_then(is_last):  # positions take divisions: once a task
        number = _next_number(emission, builder)
        builder.store(number, emission.claimed)
        with builder.if_then(builder.icmp_signed("<", number, emission.field("tasks"))):
            position = _position(emission, number)
            for name, place in places.items():
                builder.store(_address(emission, name, position), place)
    for name, place in places.items():
        here, offset = scope.pointers[name], emission.field(f"stride.{name}.{axis}")
        further: ir.Value = builder.load(place, typ=POINTER)
        for summed in blocks:
            block = _further(emission, scope.around.pointers[name], name, summed)
            further = builder.select(last, further, block)
        behind = builder.gep(here, [builder.mul(panel, offset)], source_etype=I8)
        scope.next_panel[name] = builder.select(ends, further, behind)


def _is_last(emission: Emission, scope: Scope, axis: str, step: ir.Value) -> ir.Value:
    """Whether what remains of an axis, of which tasks may have parts, is one step or less."""
    builder, task = emission.builder, scope
    while task.around is not None:
        task = task.around
    begin = task.index.get(axis, ir.Constant(I64, 0))
    size = emission.lir.axes[axis]
    whole = ir.Constant(I64, size) if size else emission.field(f"size.{axis}")
    rest = builder.sub(task.work.get(axis, whole), builder.sub(scope.index[axis], begin))
    return builder.icmp_signed("<=", rest, step)


def _further(emission: Emission, pointer: ir.Value, name: str, summed: str) -> ir.Value:
    """The address a block of the sum further."""
    block = ir.Constant(I64, emission.lir.plans[summed].block)
    distance = emission.builder.mul(block, emission.stride(name, summed))
    return emission.builder.gep(pointer, [distance], source_etype=I8)


def _asked_ahead(emission: Emission, axis: str) -> set[str]:
    """The tensors whose next panel along an axis is asked for."""
    shared = (e for e in emission.lir.expressions() if e.attrs.get("along"))
    found = {e.inputs[0] for e in shared if e.attrs["ahead"] == axis}
    return {name for name in found if emission.lir.tensors[name].has_panels(axis)}
