"""Joins: each task of a group leaves its part in shared memory, the last one to come goes on."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from snipjit.ir.call_args import chunk_bytes
from snipjit.ir.linear_ir import Loop, Statement
from snipjit.passes.llvm.emission import POINTER, Emission, Scope, TaskGroup
from snipjit.passes.llvm.loop_state import Carried, EmitBody, LoopState
from snipjit.passes.llvm.vector_ir import I8, I64


def emit_join(emission: Emission, join: Loop, emit_body: EmitBody) -> None:
    """Emit both bodies, neither of which a task that is alone enters."""
    assert emission.group is not None, "a join stands in a split loop"
    _JoinEmitter(emission, join, emission.group, emit_body).emit(join.last)


@dataclass
class _JoinEmitter(LoopState):
    group: TaskGroup
    emit_body: EmitBody

    def emit(self, last: list[Statement]) -> None:
        """Afterwards accumulators hold what the task made alone, or what the last one merged."""
        self.prepare()
        builder, before = self.emission.builder, self.emission.builder.block
        alone = self.elements(self.scope)
        each, end = (builder.append_basic_block(f"join.{name}") for name in ("each", "end"))
        one = builder.icmp_signed("==", self.group.tasks, ir.Constant(I64, 1))
        builder.cbranch(one, end, each)
        builder.position_at_end(each)
        begin = self.shared_memory()
        self.leave_part(begin)
        self.arrive()
        merged = self.merge_parts(last, begin)
        after = builder.block
        builder.branch(end)
        builder.position_at_end(end)
        self.enter(self.scope, {**self.merge(alone, before, merged, after), **begin})

    def shared_memory(self) -> Carried:
        """Where the parts of this group begin in each shared buffer."""
        emission, builder = self.emission, self.emission.builder
        part = ir.Constant(I64, chunk_bytes(emission.lir))
        before = builder.mul(self.group.number, part)
        pointers: Carried = {}
        for name, buffer in emission.shared.items():
            place = builder.add(before, ir.Constant(I64, buffer.offset or 0))
            distance = builder.mul(place, self.group.tasks)
            base = emission.field("scratch", POINTER)
            pointers[f"pointer {name}"] = builder.gep(base, [distance], source_etype=I8)
        return pointers

    def leave_part(self, begin: Carried) -> None:
        """The first body, at the place of this task."""
        emission, scope, axis = self.emission, self.scope.inner(), self.loop.axis
        scope.counts[axis], scope.index[axis] = 1, self.group.task
        for port in self.loop.pieces[0].ports:
            size = int(port.ptr_increment) * emission.tensors[port.tensor].element.bytes
            distance = emission.builder.mul(self.group.task, ir.Constant(I64, size))
            pointer = begin[f"pointer {port.tensor}"]
            pointer = emission.builder.gep(pointer, [distance], source_etype=I8)
            scope.pointers[port.tensor] = pointer
        self.run(self.loop.body, scope)

    def arrive(self) -> None:
        """Count this task; only the last one stays, and leaves the count as it found it."""
        emission, builder = self.emission, self.emission.builder
        counters = emission.field_address(builder, "arrived.0")
        counter = builder.gep(counters, [self.group.number], source_etype=I64)
        # Each task's part is written before it is counted, and read after all are.
        count = builder.atomic_rmw("add", counter, ir.Constant(I64, 1), "acq_rel")
        others = builder.sub(self.group.tasks, ir.Constant(I64, 1))
        last = builder.append_basic_block("join.last")
        builder.cbranch(builder.icmp_signed("==", count, others), last, emission.next_task)
        builder.position_at_end(last)
        builder.store(ir.Constant(I64, 0), counter, align=8)

    def merge_parts(self, last: list[Statement], begin: Carried) -> Carried:
        """The second body, over the parts of all tasks; the accumulators it makes."""
        scope = self.scope.inner()
        scope.work[self.loop.axis] = self.group.tasks
        for port in self.loop.pieces[0].ports:
            scope.pointers[port.tensor] = begin[f"pointer {port.tensor}"]
        self.run(last, scope)
        return self.elements(scope)

    def run(self, body: list[Statement], scope: Scope) -> None:
        """Emit a body in a scope of its own."""
        self.emission.scope = scope
        self.emit_body(body)
        self.emission.scope = self.scope
