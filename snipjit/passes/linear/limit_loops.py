"""LimitLoops: what an index condition hides from every reduction is not computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Statement, expressions, is_kind, walk
from snipjit.ir.loop_limits import Limit
from snipjit.ir.loop_nest import panel_axes, task_body
from snipjit.ir.operations import MONOIDS
from snipjit.ir.states import State
from snipjit.passes.linear.call_scalars import CallScalars
from snipjit.passes.linear.hidden_values import (
    ABSORBING,
    NONE,
    HiddenValues,
    RowTest,
    Tests,
)
from snipjit.passes.linear.index_conditions import Definitions
from snipjit.passes.linear.limit_guards import LimitGuards, is_low
from snipjit.passes.linear.linear_pass import LinearPass

Limits = dict[Limit, Tests]
"""Limits outside of which nothing matters to rows that pass the tests."""


@dataclass(frozen=True)
class LimitLoops(LinearPass):
    """Limit the streamed axis, in panels of rows and as a whole, to where conditions can hold.

    Legal if all that the panel does with a hidden element is to take the maximum of -inf with
    others, or to add zero to a sum: the exponential of -inf less the maximum of the visible
    elements. The condition itself stays, for elements that a limit does not tell from others.
    Other operands are then not looked at where they meet hidden elements: NaN there stays there.

    A finite number in the place of -inf, which may be a scalar of the call, is as good if it is so
    far below the maximum of the visible elements that its exponential is 0. That is known
    afterwards: a task with a row where it is not so runs once more without limits. Tasks that are
    chunks of the streamed axis have no such limits: alone none knows the maximum.

    Before:  for n step 128 { for m step 48 {
               %c = ge %i %j : i1[n m]                 with %i = iota m, %j = iota n
               %t = where %c %s %low : f32[n m]        with %low = -inf
               %x.part = reduce %t {monoid=max, over=(n)} … } }
    After:   for n where n upto m + 0 step 128 { for m where n upto m + 0 step 48 { … } }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Limit every panel of every streaming loop."""
        task, rows = task_body(lir), panel_axes(lir)
        scalars = CallScalars(_definitions(lir))
        states = {state.value: state for state in _maxima(lir)}
        types = {e.output: e.type for e in lir.expressions()}
        guards = LimitGuards(scalars, {name: types[name] for name in states})
        for loop in task if rows else []:
            if isinstance(loop, Loop) and loop.axis not in rows:
                stream = _Stream(loop, task, rows, scalars, states, _absorbing(lir))
                stream.limit(guards)
        task[:] = guards.around(task, _nest_of(task, rows))
        return lir


def _absorbing(lir: LinearIR) -> float:
    """How low a number must be to hide what it is added to.

    Of f16 inputs the lowest number absorbs what is smaller than 2^14.
    """
    halves = (tensor.element.lowest for tensor in lir.inputs if tensor.element.is_half)
    return max([ABSORBING, *halves])


def _definitions(lir: LinearIR) -> Definitions:
    """The one Expression that makes a value; accumulators, which have several, have none."""
    found: Definitions = {name: Expression("scalar", name, ()) for name in lir.scalars}
    for e in lir.expressions():
        if e.output is not None:
            found[e.output] = None if e.output in found else e
    return found


def _maxima(lir: LinearIR) -> list[State]:
    """The maxima that loops carry."""
    states = [state for s, _ in lir.walk() if isinstance(s, Loop) for state in s.states]
    return [state for state in states if MONOIDS[state.monoid].is_maximum]


def _nest(loop: Loop) -> list[Loop]:
    """A loop and those that stand alone inside, down to the one that holds Expressions."""
    inner = loop.body[0] if len(loop.body) == 1 else None
    return [loop, *(_nest(inner) if isinstance(inner, Loop) else [])]


def _nest_of(task: list[Statement], rows: list[str]) -> list[tuple[str, int]]:
    """The axes and steps of the loops over panels."""
    panels = (s for s, _ in walk(task) if isinstance(s, Loop) and s.axis in rows)
    first = next(panels, None)
    return [(loop.axis, loop.step) for loop in _nest(first)] if first else []


@dataclass
class _Stream:
    """A loop over a streamed axis, in the task around it."""

    loop: Loop
    task: list[Statement]
    rows: list[str]
    scalars: CallScalars
    maxima: Mapping[str, State]
    absorbing: float

    def limit(self, guards: LimitGuards) -> None:
        """Limit every panel, and the loop itself by what limits all of them."""
        common: Limits | None = None
        for panel in self.loop.body:
            if isinstance(panel, Loop):
                nest = _nest(panel)
                limits = self._limits(nest[-1].body)
                for loop in nest:
                    loop.limits = tuple(guards.guard(limits, of=loop.axis))
                common = limits if common is None else _both(common, limits)
            elif isinstance(panel, Expression) and self._is_result(panel):
                common = {}  # of the whole axis, for all rows
        self.loop.limits = tuple(guards.guard(common or {}))

    def _limits(self, panel: list[Statement]) -> Limits:
        """The limits outside of which no reduction sees anything but its identity."""
        values = HiddenValues(self.scalars, self.loop.axis, self.rows, self.maxima, self.absorbing)
        for e in self.loop.body:
            if isinstance(e, Expression) and self.loop.axis in e.type.axes:
                values.follow(e)
        common: Limits | None = None
        for e in panel:
            if not isinstance(e, Expression):
                return {}
            if self._is_result(e):
                allowed = self._identity(values, e)
                common = allowed if common is None else _both(common, allowed)
            elif self.loop.axis in e.type.axes:
                values.follow(e)
        low = {limit: tests for limit, tests in (common or {}).items() if self._can_hold(tests)}
        return dict(sorted(low.items(), key=repr))

    def _can_hold(self, tests: Tests) -> bool:
        """Whether bounds are low enough; a task that ends at a join cannot run once more."""
        joined = any(is_kind(s, "join") for s in self.task)
        return all(map(is_low, tests)) and not (tests and joined)

    def _is_result(self, e: Expression) -> bool:
        """Whether anything outside sees what the Expression makes of each element."""
        return self.loop.axis in e.over or (e.op == "store" and self.loop.axis in e.type.axes)

    def _identity(self, values: HiddenValues, e: Expression) -> Limits:
        """Outside of which limits a reduction adds nothing."""
        if e.op == "brgemm" or (e.op == "reduce" and e.attrs["monoid"] == "sum"):
            return values.vanishing(e)
        if e.op != "reduce" or not MONOIDS[e.attrs["monoid"]].is_maximum:
            return {}
        states = (state.value for state in self.maxima.values() if state.part == e.output)
        if (maximum := next(states, None)) is None:
            return {}

        def tests(value: float | str) -> Tests:
            certain = value == -math.inf and not self._last_iteration_matters
            return NONE if certain else frozenset({RowTest(maximum, value)})

        found = values.values.get(e.inputs[0], {})
        return {limit: tests(hidden.value) for limit, hidden in found.items()}

    @property
    def _last_iteration_matters(self) -> bool:
        """Whether anything but accumulators leaves the loop: it may not be what it was."""
        inside = [e for e in expressions(self.loop.body) if e.output not in e.inputs]
        accumulated = {e.output for e in expressions(self.loop.body) if e.output in e.inputs}
        left = {e.output for e in inside} - accumulated
        outside = (s for s in self.task if s is not self.loop)
        return any(left.intersection(e.inputs) for e in expressions(outside))


def _both(one: Limits, two: Limits) -> Limits:
    return {limit: tests | two[limit] for limit, tests in one.items() if limit in two}
