"""LimitGuards: a task tries its limits, tests every row, and runs without them if one fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import Loop, Piece, Statement, retry
from snipjit.ir.loop_limits import Limit
from snipjit.passes.linear.call_scalars import CallScalars
from snipjit.passes.linear.hidden_values import RowTest, Tests

FAR = -1000.0
"""Hidden elements are limited away if they are at most this: rows seldom have such a maximum."""

MARGIN = 151.0
"""2^-150 is 0 in float32, and so is e^-150."""


def is_low(test: RowTest) -> bool:
    """Whether the bound may be low enough for the test to be of use."""
    return isinstance(test.bound, str) or test.bound <= FAR


@dataclass
class LimitGuards:
    """Registers for limits to ask, and the statements around a task that set them.

    Before:  for m step 48 { … } ; for n step 128 { … }
    After:   %low = le %fill %far : i1[] ; %reach = add %fill %margin : f32[]
             %x.again = fill {value=false} : i1[b]
             retry %x.again {
               %first = not %x.again ; %live = and %low %first
               for m step 48 { … } ; for n where n upto m + 0 when %live step 128 { … }
               for m step 48 {
                 %near = le %x %reach ; %missed = and %near %live
                 %some = horizon %missed {monoid=any, over=(m)}
                 %x.again = or %x.again %some
               }
             }
    """

    scalars: CallScalars
    types: dict[str, ValueType]
    names: dict[Tests, str] = field(default_factory=dict)

    def guard(self, limits: dict[Limit, Tests], of: str | None = None) -> Iterator[Limit]:
        """The limits (by one axis) with the registers that say whether they hold."""
        for limit, tests in limits.items():
            if of in (None, limit.of):
                yield replace(limit, when=self._name(tests)) if tests else limit

    def _name(self, tests: Tests) -> str:
        return self.names.setdefault(tests, f"limited.{len(self.names)}")

    def around(self, task: list[Statement], nest: list[tuple[str, int]]) -> list[Statement]:
        """The task with its tests, if there are any; ``nest`` are the loops over panels."""
        if not self.names:
            return task
        maximum = min(test.maximum for tests in self.names for test in tests)
        row, rows = self.types[maximum].axes, [axis for axis, _ in nest]
        kept = tuple(axis for axis in row if axis not in rows)
        over = tuple(axis for axis in row if axis in rows)
        flag, type = f"{maximum}.again", ValueType("i1", kept)
        begin = Expression("fill", flag, (), type, {"value": False})
        allowed, tests = [*self._allowed(flag, type)], [*self._tests(flag, type, over)]
        panel: list[Statement] = [*tests]
        for axis, step in reversed(nest):
            panel = [Loop(axis, [Piece(step, panel)])]
        needed = self.scalars.needed([*allowed, *tests])
        return [*needed, begin, retry(flag, [*allowed, *task, *panel])]

    def _allowed(self, flag: str, type: ValueType) -> Iterator[Expression]:
        """The guards: true in the first run if all bounds are low enough."""
        yield Expression("not", f"{flag}.first", (flag,), type)
        for tests, name in self.names.items():
            before = f"{flag}.first"
            for test in sorted(tests, key=repr):
                low = self.scalars.apply("le", [test.bound, FAR], "i1", f"{test.bound}.low")
                yield Expression("and", name, (self.scalars.register(low), before), type)
                before = name

    def _tests(self, flag: str, type: ValueType, over: tuple[str, ...]) -> Iterator[Expression]:
        """Set the flag if a limit held that some row needs not to hold."""
        pairs = [(test, name) for tests, name in self.names.items() for test in tests]
        for number, (test, name) in enumerate(sorted(pairs, key=repr)):
            reach = self.scalars.apply("add", [test.bound, MARGIN], "f32", f"{test.bound}.reach")
            near, missed, some = (f"{flag}.{word}.{number}" for word in ("near", "missed", "some"))
            rows = replace(self.types[test.maximum], dtype="i1")
            yield Expression("le", near, (test.maximum, self.scalars.register(reach)), rows)
            yield Expression("and", missed, (near, name), rows)
            how = {"monoid": "any", "over": over}
            yield Expression("horizon", some, (missed,), type, how)
            yield Expression("or", flag, (flag, some), type)
