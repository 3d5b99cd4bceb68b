"""RowUnits: differences from a row's maximum in a unit of the row, at no further cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from snipjit.ir.element_types import ELEMENT_TYPES
from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Nest, Statement
from snipjit.ir.operations import EXPONENTIALS, LOG4_E
from snipjit.ir.regions import rewrite
from snipjit.passes.linear.linear_pass import LinearPass

LARGE = 2.0**126
"""A maximum that may not be doubled: float32 ends at 2^128."""

LOWEST = ELEMENT_TYPES["f16"].lowest
"""The lowest float16."""

NEIGHBOUR = 1024.0
"""How far from it a sum of the lowest number and a score lies at most: a score beyond is told from
it by float16 too."""

NOTHING = 2.0**-60
"""A unit in which finite scores are all alike, and infinite ones are not."""


@dataclass(frozen=True)
class RowUnits(LinearPass):
    """Turn ``exp4(y - m)`` into ``exp2(y·u - m·u)`` with ``u = 2``, for one ``fms`` an element.

    Where ``2·m`` would be infinite the unit is 1: there the base does not matter, since differences
    are 0 or larger than any exponent.

    Where the model has rounded ``y`` to float16 (``rounded=f16``) and the maximum is its lowest
    number, the row sees nothing, and each of its scores is that number whatever was added to it:
    the unit makes their differences 0. Elsewhere nothing is rounded. Two such numbers added are
    -inf in float16: elements as low as that keep their own difference, where there are two sums.

    Before:  %c = sub %y %m : f32[n m]
             %p = exp4 %c : f32[n m]
    After:   %m.size = abs %m : f32[m]
             %m.large = fill {value=8.5e37} : f32
             %m.is_large = gt %m.size %m.large : i1[m]
             %m.one = fill {value=1.0} : f32
             %m.two = fill {value=2.0} : f32
             %m.unit = where %m.is_large %m.one %m.two : f32[m]
             %m.shift = mul %m %m.unit : f32[m]
             %c.units = fms %y %m.unit %m.shift : f32[n m]
             %p = exp2 %c.units : f32[n m]
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Rewrite every such difference whose exponential stands beside it."""
        lir.body = rewrite(lir.body, _Rewriter(lir).in_units)
        return lir


@dataclass
class _Rewriter:
    lir: LinearIR
    definitions: Mapping[str, Expression] = field(init=False)
    readers: Counter[str] = field(init=False)
    changed: dict[str | None, Expression] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expressions = list(self.lir.expressions())
        self.definitions = {e.output: e for e in expressions if e.output is not None}
        self.readers = Counter(name for e in expressions for name in e.inputs)

    def in_units(self, body: list[Statement], _: Nest) -> list[Statement]:
        """One body, after those inside it."""
        exponentials = self._exponentials(body)
        units: dict[tuple[str, bool, bool], tuple[str, str]] = {}
        result: list[Statement] = []
        for statement in body:
            if isinstance(statement, Expression):
                if statement.op == "sub" and statement.output in exponentials:
                    result += self._in_units(statement, exponentials[statement.output], units)
                    continue
                # A maximum that moves on has another unit.
                units = {of: unit for of, unit in units.items() if of[0] != statement.output}
                statement = self.changed.get(statement.output, statement)
            result.append(statement)
        return result

    def _exponentials(self, body: list[Statement]) -> dict[str, list[Expression]]:
        """By the name of a difference: the exponentials of it, which nothing else reads."""
        found: defaultdict[str, list[Expression]] = defaultdict(list)
        for e in body:
            if isinstance(e, Expression) and e.op in EXPONENTIALS:
                found[e.inputs[0]].append(e)
        return {
            name: users
            for name, users in found.items()
            if self.readers[name] == len(users) and len({_kind(e) for e in users}) == 1
            if _kind(users[0]) != (False, False)
        }

    def _in_units(
        self,
        difference: Expression,
        users: list[Expression],
        units: dict[tuple[str, bool, bool], tuple[str, str]],
    ) -> list[Statement]:
        value, maximum = difference.inputs
        base4, rounded = _kind(users[0])
        unit_of, made = (maximum, base4, rounded), list[Statement]()
        if unit_of not in units:
            unit = _Unit(maximum, self.definitions[maximum].type, base4, rounded)
            made += unit.body
            units[unit_of] = unit.name, unit.shift
        name = f"{difference.output}.units"
        made.append(Expression("fms", name, (value, *units[unit_of]), difference.type))
        if rounded and self._sums(value) > 1:
            made += _kept_apart(difference, name, base4)
            name = f"{difference.output}.apart"
        for e in users:
            op = "exp2" if base4 else e.op
            self.changed[e.output] = replace(e.without("rounded"), op=op, inputs=(name,))
        return made

    def _sums(self, name: str) -> int:
        """How many sums a value is the result of."""
        e = self.definitions.get(name)
        if e is None or e.op in ("brgemm", "reduce", "load") or e.output in e.inputs:
            return 0
        return (e.op == "add") + sum(map(self._sums, e.inputs))


def _kind(e: Expression) -> tuple[bool, bool]:
    """Whether an exponential is in base 4, and whether its rows may see nothing in float16."""
    return e.op == "exp4", "rounded" in e.attrs


@dataclass
class _Unit:
    """The expressions that make the unit of a row, and its maximum in it."""

    maximum: str
    type: ValueType
    base4: bool
    rounded: bool
    body: list[Statement] = field(default_factory=list)
    name: str = ""
    shift: str = ""

    def __post_init__(self) -> None:
        self.name = self._number("normal", 2.0 if self.base4 else 1.0)
        if self.base4:
            size = self._add("size", "abs", self.maximum)
            self._choose("unit", "gt", size, LARGE, 1.0)
        if self.rounded:
            bound = (LOWEST + NEIGHBOUR) * (LOG4_E if self.base4 else 1.0)
            self._choose("nothing", "le", self.maximum, bound, NOTHING)
        self.shift = self._add("shift", "mul", self.maximum, self.name)

    def _choose(self, hint: str, test: str, value: str, bound: float, unit: float) -> None:
        """Another unit where a comparison holds."""
        limit, other = self._number(f"{hint}.bound", bound), self._number(f"{hint}.other", unit)
        holds = self._add(f"{hint}.test", test, value, limit, dtype="i1")
        self.name = self._add(hint, "where", holds, other, self.name)

    def _number(self, hint: str, value: float) -> str:
        name = f"{self.maximum}.{hint}"
        self.body.append(Expression("fill", name, (), ValueType("f32"), {"value": value}))
        return name

    def _add(self, hint: str, op: str, *inputs: str, dtype: str = "f32") -> str:
        name = f"{self.maximum}.{hint}"
        self.body.append(Expression(op, name, inputs, replace(self.type, dtype=dtype)))
        return name


def _kept_apart(difference: Expression, name: str, base4: bool) -> list[Statement]:
    """Elements below float16 stay -inf, or nearly so, in a row that sees nothing."""
    low, test = f"{difference.output}.below", f"{difference.output}.within"
    value = 1.5 * LOWEST * (LOG4_E if base4 else 1.0)
    within = replace(difference.type, dtype="i1")
    chosen = (test, name, difference.inputs[0])
    return [
        Expression("fill", low, (), ValueType("f32"), {"value": value}),
        Expression("ge", test, (difference.inputs[0], low), within),
        Expression("where", f"{difference.output}.apart", chosen, difference.type),
    ]
