"""Retries: a body that runs at most twice, emitted once, with accumulators as phis."""

from __future__ import annotations

from snipjit.ir.linear_ir import Loop
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.loop_state import EmitBody, LoopState


def emit_retry(emission: Emission, retry: Loop, emit_body: EmitBody) -> None:
    """Emit the body, and a way back for when it has set the flag that was not set before."""
    carried = LoopState(emission, retry)
    carried.prepare()
    builder, scope, inner = emission.builder, emission.scope, emission.scope.inner()
    state, before = carried.elements(scope), builder.block
    body, leave = (builder.append_basic_block(f"retry.{name}") for name in ("body", "end"))
    builder.branch(body)
    builder.position_at_end(body)
    phis = {slot: builder.phi(value.type) for slot, value in state.items()}
    carried.enter(inner, dict(phis))
    was_set = inner.registers[retry.flag].at({})
    emission.scope = inner
    emit_body(retry.body)
    again = builder.and_(inner.registers[retry.flag].at({}), builder.not_(was_set))
    after = carried.elements(inner)
    for slot, phi in phis.items():
        phi.add_incoming(state[slot], before)
        phi.add_incoming(after[slot], builder.block)
    builder.cbranch(again, body, leave)
    builder.position_at_end(leave)
    emission.scope = scope
    carried.enter(scope, after)
