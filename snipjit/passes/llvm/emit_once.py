"""Once: buffers of a worker that are filled unless they hold what is wanted already."""

from __future__ import annotations

from functools import reduce

from llvmlite import ir

from snipjit.ir.linear_ir import Loop
from snipjit.ir.loop_nest import kept_buffers
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.loop_state import EmitBody, LoopState
from snipjit.passes.llvm.vector_ir import I64

NOWHERE = -1
"""A place at which no loop is."""


def emit_once(emission: Emission, loop: Loop, emit_body: EmitBody) -> None:
    """Emit the body behind a look at where the worker ran it last."""
    LoopState(emission, loop).prepare()
    builder, scope = emission.builder, emission.scope
    slots = {axis: _slot(emission, loop, axis) for axis in loop.at}
    differ = [
        builder.icmp_signed("!=", builder.load(slot, typ=I64), scope.index[axis])
        for axis, slot in slots.items()
    ]
    body, leave = (builder.append_basic_block(f"once.{name}") for name in ("body", "end"))
    builder.cbranch(reduce(builder.or_, differ), body, leave)
    builder.position_at_end(body)
    emission.scope = scope.inner()
    emit_body(loop.body)
    for axis, slot in slots.items():
        builder.store(scope.index[axis], slot)
    emission.scope = scope
    builder.branch(leave)
    builder.position_at_end(leave)


def _slot(emission: Emission, loop: Loop, axis: str) -> ir.Value:
    """Where a worker notes its place: the same in all bodies that fill the same buffers."""
    name = f"place of {' '.join(sorted(kept_buffers([loop])))} along {axis}"
    if name not in emission.loaded:
        slot = emission.entry.alloca(I64)
        emission.entry.store(ir.Constant(I64, NOWHERE), slot)
        emission.loaded[name] = slot
    return emission.loaded[name]
