"""Merge: the states that tasks have built from parts of a streamed axis become one.

Each state begins with its monoid's identity and takes in the registers that the chunks have left,
as the loop takes in the parts of its iterations. Sums that a chunk has scaled by its own maximum
are brought to the common one first (``online_states.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Loop, Statement
from snipjit.ir.operations import MONOIDS
from snipjit.ir.states import State
from snipjit.passes.linear.online_states import Exponential, move_maximum, scale_sum

MERGED = ".merged"
"""Ends the names of what the loop has under the same name, of its last iteration."""


@dataclass
class Merge:
    """How accumulators begin, and the update by those of one chunk.

    types  the registers that a chunk leaves
    fills  how all accumulators begin
    body   the update, in a loop over the axis ``chunk``
    """

    lir: LinearIR
    loop: Loop
    chunk: str
    types: dict[str, ValueType] = field(default_factory=dict)
    fills: list[Expression] = field(default_factory=list)
    body: list[Expression] = field(default_factory=list)

    @staticmethod
    def of(lir: LinearIR, task: list[Statement], loop: Loop, chunk: str) -> Merge | None:
        """The merge of a loop in its task; None where its task needs more of it than its states."""
        states = {state.value for state in loop.states}
        kept = states | {state.last for state in loop.states}
        inside = [s for s in loop.body if isinstance(s, Expression)]
        around = [s for s in task if isinstance(s, Expression)]
        assigned = {e.output for e in inside if e.output is not None}
        left = {name for e in around for name in e.inputs if name in assigned}
        if not states or len(inside) != len(loop.body) or not left <= kept:
            return None
        begins = {e.output: e for e in around if e.op == "fill" and e.output in kept}
        if any(e.op == "store" for e in inside) or not _begin_as_identities(loop, begins):
            return None
        merge = Merge(lir, loop, chunk, fills=[*begins.values()])
        merge._take_in()
        return merge

    def with_chunk(self, type: ValueType) -> ValueType:
        """The type of a value that every chunk has one of."""
        axes = tuple(axis for axis in type.axes if axis not in self.lir.lanes)
        lanes = tuple(axis for axis in type.axes if axis in self.lir.lanes)
        return ValueType(type.dtype, (*axes, self.chunk, *lanes))

    def _take_in(self) -> None:
        """Combine what a chunk has left into each state; sums after the maxima they follow."""
        made = {e.output: e for e in self.loop.body if isinstance(e, Expression)}
        states = {state.value: state for state in self.loop.states}
        for state in self.loop.states:
            type = self.types[state.value] = made[state.value].type
            maximum = states.get(state.by)
            if maximum is not None:
                self.body.append(scale_sum(state, maximum, type, MERGED))
            part = self._part(state, maximum, type)
            if state.scale:
                scale = made[state.scale]
                exp = Exponential(scale.op, scale.attrs)
                self.body += move_maximum(state, type, exp, part, MERGED)
                self._weigh(state, type, exp)
            else:
                combine = MONOIDS[state.monoid].combine
                self.body.append(Expression(combine, state.value, (state.value, part), type))

    def _part(self, state: State, maximum: State | None, type: ValueType) -> str:
        """What a chunk has left of a state, brought to the common maximum if it has one."""
        name, wide = f"{state.value}.chunk", self.with_chunk(type)
        self.body.append(Expression("load", name, (f"{state.value}.chunks",), wide))
        if maximum is not None:
            weighed = f"{name}.by.{maximum.scale}"
            self.body.append(Expression("mul", weighed, (name, f"{maximum.scale}.chunk"), wide))
            name = weighed
        part = f"{state.part or f'{state.value}.part'}{MERGED}"
        attrs = {"monoid": state.monoid, "over": (self.chunk,)}
        self.body.append(Expression("horizon", part, (name,), type, attrs))
        return part

    def _weigh(self, state: State, type: ValueType, exp: Exponential) -> None:
        """What brings the sums of a chunk from its own maximum to the common one."""
        wide, moved = self.with_chunk(type), f"{state.value}.moved.chunk"
        difference = (f"{state.value}.chunk", f"{state.safe}{MERGED}")
        self.body.append(Expression("sub", moved, difference, wide))
        self.body.append(Expression(exp.op, f"{state.scale}.chunk", (moved,), wide, exp.attrs))


def _begin_as_identities(loop: Loop, begins: Mapping[str, Expression]) -> bool:
    """Whether each state begins with what changes nothing in its monoid."""
    return all(
        state.value in begins
        and begins[state.value].attrs["value"] == MONOIDS[state.monoid].identity
        for state in loop.states
    )
