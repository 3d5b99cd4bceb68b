"""What is legal in the states of loops: each is updated as its monoid says, and in no other way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Statement, bodies
from snipjit.ir.operations import MONOIDS
from snipjit.ir.states import State
from snipjit.ir.verify.linear_loops import fault


def check_states(lir: LinearIR) -> None:
    """Raise VerificationError for states that are not what the loop's body does.

    Bodies whose operations are in loops of their own already are not looked into.
    """
    for body in bodies(lir.body):
        loops = [(i, s) for i, s in enumerate(body) if isinstance(s, Loop)]
        for position, loop in loops:
            for state in loop.states:
                for wrong in chain(_faults(loop, state), _beginnings(body[:position], state)):
                    raise fault(lir, loop, f"%{state.value} {wrong}")


def _beginnings(before: list[Statement], state: State) -> Iterator[str]:
    """What is wrong with how a state begins, where that stands in the same body."""
    made = [s for s in before if isinstance(s, Expression) and s.output == state.value]
    identity = MONOIDS[state.monoid].identity
    if made and made[-1].op == "fill" and made[-1].attrs["value"] != identity:
        yield f"does not begin with the identity of {state.monoid}, {identity}"


def _faults(loop: Loop, state: State) -> Iterator[str]:
    if state.monoid not in MONOIDS:
        yield f"is in no known monoid: one of {', '.join(MONOIDS)}"
        return
    maximum = next((other for other in loop.states if other.value == state.by), None)
    if state.by and (maximum is None or not maximum.scale):
        yield f"follows %{state.by}, which is no maximum of the loop that others follow"
        return
    if (state.safe or state.last) and not state.scale:
        yield "has no scale for what follows it"
    body = [s for s in loop.body if isinstance(s, Expression)]
    if len(body) == len(loop.body):
        wanted = ["scaled"] * bool(state.by) + ["combined"]
        kinds = [_kind(e, state, maximum) for e in body if e.output == state.value]
        if kinds != wanted:
            yield f"is not {' and '.join(wanted)} as a {state.monoid}"


def _kind(e: Expression, state: State, maximum: State | None) -> str:
    """What an operation does to a state."""
    if maximum is not None and (e.op, e.inputs) == ("mul", (state.value, maximum.scale)):
        return "scaled"
    if state.part:
        combine = MONOIDS[state.monoid].combine, (state.value, state.part)
        return "combined" if (e.op, e.inputs) == combine else "assigned"
    own = e.op in ("brgemm", "fma") and e.inputs[2:] == (state.value,)
    return "combined" if own and state.monoid == "sum" else "assigned"
