"""HiddenValues: what is known of the elements of a panel that a limit would cut off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from snipjit.ir.expression import Expression
from snipjit.ir.loop_limits import Limit
from snipjit.ir.operations import ELEMENTWISE, EXPONENTIALS, MAXIMA, cast_to
from snipjit.ir.states import State
from snipjit.passes.linear.call_scalars import CallScalars, Scalar
from snipjit.passes.linear.index_conditions import limits_of

ABSORBING = -(2.0**110)
"""Numbers so low stay below half of themselves whatever is added that is smaller than 2^100."""


@dataclass(frozen=True)
class Hidden:
    """The value of all elements that a limit cuts off, or the most that they can be."""

    value: Scalar
    exact: bool = True


@dataclass(frozen=True)
class RowTest:
    """A row in which ``maximum`` is far above ``bound`` does not feel what is at most that."""

    maximum: str
    bound: Scalar


Tests = frozenset[RowTest]
NONE: Tests = frozenset()


@dataclass
class HiddenValues:
    """Follows the Expressions of a panel; ``stream`` is the limited axis, ``rows`` limit it.

    What a ``where`` replaced by a scalar is that scalar, also after further functions of scalars.
    If anything else is added, all that is known is that the sum is at most half of the scalar; and
    that only if it is as low as ``absorbing``, and if what is added is far below that, which is
    taken for granted of elements that should not matter. (``finfo.min`` plus a score is
    ``finfo.min`` again, by rounding; plus ``finfo.min`` of another mask it is -inf.) A score might
    well outweigh -1e4, so such a number limits nothing once a score is added.
    """

    scalars: CallScalars
    stream: str
    rows: list[str]
    maxima: Mapping[str, State]
    absorbing: float = ABSORBING
    values: dict[str, dict[Limit, Hidden]] = field(default_factory=dict)
    shifted: dict[str, dict[Limit, Tests]] = field(default_factory=dict)
    zeros: dict[str, dict[Limit, Tests]] = field(default_factory=dict)

    def follow(self, e: Expression) -> None:
        """Learn what a value is where limits cut it off, and where it is 0 after some tests."""
        if e.op not in ELEMENTWISE or e.output is None:
            return
        known = {limit: self._value(e, limit) for limit in self._limits(e)}
        self.values[e.output] = {limit: v for limit, v in known.items() if v is not None}
        self.values[e.output].update(self._truths(e))
        if e.op == "sub":
            self.shifted[e.output] = self._distances(e)
        zeros = {limit: self._zero(e, limit) for limit in self._limits(e)}
        self.zeros[e.output] = {limit: t for limit, t in zeros.items() if t is not None}

    def vanishing(self, e: Expression) -> dict[Limit, Tests]:
        """The limits outside of which a sum or product adds nothing, if some tests are passed."""
        names = e.inputs[:2] if e.op == "brgemm" else e.inputs
        found: dict[Limit, Tests] = {}
        for name in names:
            for limit in {**self.zeros.get(name, {}), **self.values.get(name, {})}:
                if any(self._is_infinite(other, limit) for other in names):
                    continue  # 0 times that is NaN
                tests = self._zero_at(name, limit)
                if tests is not None and len(tests) <= len(found.get(limit, tests)):
                    found[limit] = tests
        return found

    # Values

    def _limits(self, e: Expression) -> list[Limit]:
        tables = (self.values, self.zeros, self.shifted)
        known = {limit for table in tables for name in e.inputs for limit in table.get(name, {})}
        return sorted(known, key=repr)

    def _truths(self, e: Expression) -> dict[Limit, Hidden]:
        """A condition is false outside of the limits that follow from it."""
        if e.type.dtype != "i1" or e.output is None:
            return {}
        return {
            limit: Hidden(not holds)
            for holds in (True, False)
            for row in (*self.rows, "")
            for limit in limits_of(self.scalars.definitions, e.output, holds, self.stream, row)
        }

    def _at(self, name: str, limit: Limit) -> Hidden | None:
        scalar = self.scalars.read(name)
        return self.values.get(name, {}).get(limit) if scalar is None else Hidden(scalar)

    def _value(self, e: Expression, limit: Limit) -> Hidden | None:
        operands = [self._at(name, limit) for name in e.inputs]
        known = [operand for operand in operands if operand is not None]
        if e.op == "where":
            return self._chosen(e, *operands)
        if len(known) == len(operands) and all(operand.exact for operand in known):
            return Hidden(self._applied(e, e.op, known))
        if len(known) == len(operands) and e.op in MAXIMA:
            return Hidden(self._applied(e, e.op, known), exact=False)
        if e.op == "add" and known:
            return self._absorbed(e, known[0])
        return self._absorbed(e, operands[0]) if e.op == "sub" and operands[0] else None

    def _applied(self, e: Expression, op: str, operands: list[Hidden]) -> Scalar:
        values = [operand.value for operand in operands]
        return self.scalars.apply(op, values, e.type.dtype, f"{e.output}.cut")

    def _chosen(
        self, e: Expression, condition: Hidden | None, a: Hidden | None, b: Hidden | None
    ) -> Hidden | None:
        if condition is not None and not isinstance(condition.value, str):
            return a if condition.value else b
        if a is not None and b is not None and a.value == b.value:
            return Hidden(a.value, a.exact and b.exact)
        if e.type.dtype != "f32" or (a is None and b is None):
            return None
        # Nothing is above infinity, so that is what an unknown side is at most.
        sides = [a or Hidden(math.inf, exact=False), b or Hidden(math.inf, exact=False)]
        if condition is None:
            return Hidden(self._applied(e, "larger", sides), exact=False)
        exact = sides[0].exact and sides[1].exact
        return Hidden(self._applied(e, "where", [condition, *sides]), exact)

    def _absorbed(self, e: Expression, low: Hidden) -> Hidden | None:
        """The most that can come of a low number and of others added to it."""
        if not isinstance(low.value, str):
            return Hidden(low.value / 2, exact=False) if low.value <= self.absorbing else None
        half = Hidden(self.scalars.apply("mul", [low.value, 0.5], "f32", f"{e.output}.half"))
        is_low = self.scalars.apply("le", [low.value, self.absorbing], "i1", f"{e.output}.low")
        chosen = [Hidden(is_low), half, Hidden(math.inf)]
        return Hidden(self._applied(e, "where", chosen), exact=False)

    # Zeros

    def _distances(self, e: Expression) -> dict[Limit, Tests]:
        """The tests after which the exponential of a difference is 0."""
        name, safe = self._maximum(e.inputs[1])
        below = self.values.get(e.inputs[0], {}) if name else {}

        def tests(bound: Scalar) -> Tests:
            return NONE if safe and bound == -math.inf else frozenset({RowTest(name, bound)})

        return {limit: tests(low.value) for limit, low in below.items()}

    def _maximum(self, name: str) -> tuple[str, bool]:
        """The maximum that a value is, or is at least; and whether it is made safe to subtract."""
        for state in self.maxima.values():
            if name in (state.value, state.safe):
                return state.value, name == state.safe
        made = self.scalars.definitions.get(name)
        if made is None or made.op != "safe" or made.inputs[0] not in self.maxima:
            return "", False
        return made.inputs[0], True

    def _is_infinite(self, name: str, limit: Limit) -> bool:
        """Whether a value is known to be infinite where a limit cuts it off."""
        value = self._at(name, limit)
        return value is not None and value.exact and value.value in (math.inf, -math.inf)

    def _zero_at(self, name: str, limit: Limit) -> Tests | None:
        value = self._at(name, limit)
        zero = value is not None and value.exact and value.value == 0
        return NONE if zero else self.zeros.get(name, {}).get(limit)

    def _zero(self, e: Expression, limit: Limit) -> Tests | None:
        if e.op in EXPONENTIALS:
            return self.shifted.get(e.inputs[0], {}).get(limit)
        tests = [self._zero_at(name, limit) for name in e.inputs]
        if e.op == "where":
            return self._zero_chosen(e, limit, *tests[1:])
        if any(self._is_infinite(name, limit) for name in e.inputs):
            return None  # 0 times that is NaN
        sets = ([tests[operand] for operand in operands] for operands in _vanish_with(e.op))
        found = [NONE.union(*filter(None, of)) for of in sets if None not in of]
        return min(found, key=len, default=None)

    def _zero_chosen(
        self, e: Expression, limit: Limit, a: Tests | None, b: Tests | None
    ) -> Tests | None:
        condition = self._at(e.inputs[0], limit)
        if condition is not None and not isinstance(condition.value, str):
            return a if condition.value else b
        return None if a is None or b is None else a | b


def _vanish_with(op: str) -> Sequence[tuple[int, ...]]:
    """The sets of operands that make a result 0 when they are."""
    to = cast_to(op)
    return ((0,),) if to is not None and to.kind == "float" else ELEMENTWISE[op].linear
