"""Index conditions: which limits on one axis follow from a condition on indices along two."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.expression import Expression
from snipjit.ir.loop_limits import Limit
from snipjit.ir.operations import ELEMENTWISE, kind_of

Definitions = dict[str, Expression | None]
"""The Expression that makes a value, None if there are several; ``scalar`` for those of a call."""

WIDENING = ("to_f32", "to_i32")
"""Casts that leave the whole numbers of a mask as they are."""


@dataclass(frozen=True)
class _Linear:
    """``Σ factor · index + constant`` over axes, in whole numbers, and ``%name`` of scalars."""

    factors: dict[str, int]
    constant: int

    def plus(self, other: _Linear, sign: int) -> _Linear:
        factors = dict(self.factors)
        for axis, factor in other.factors.items():
            factors[axis] = factors.get(axis, 0) + sign * factor
        kept = {axis: factor for axis, factor in factors.items() if factor}
        return _Linear(kept, self.constant + sign * other.constant)


def limits_of(
    definitions: Definitions, condition: str, holds: bool, axis: str, of: str
) -> set[Limit]:
    """The limits of ``axis`` by ``of`` (or no other axis) where ``condition`` holds (or not)."""
    e = definitions.get(condition)
    if e is None:
        return set()
    if e.op == "not":
        return limits_of(definitions, e.inputs[0], not holds, axis, of)
    if e.op == ("and" if holds else "or"):
        both = (limits_of(definitions, name, holds, axis, of) for name in e.inputs)
        return set[Limit]().union(*both)
    if kind_of(e.op) != "comparison":
        return set()
    op = e.op if holds else ELEMENTWISE[e.op].negated
    left, right = (_linear(definitions, name) for name in e.inputs)
    if left is None or right is None:
        return set()
    return _solve(left.plus(right, -1), op, axis, of)


def _solve(difference: _Linear, op: str, axis: str, of: str) -> set[Limit]:
    """The limits that follow from ``difference op 0``."""
    if difference.factors.get(axis) == -1:
        difference, op = _Linear({}, 0).plus(difference, -1), ELEMENTWISE[op].mirrored
    rest = dict(difference.factors)
    if rest.pop(axis, 0) != 1 or (of and rest.pop(of, 0) != -1):
        return set()
    if not all(name.startswith("%") and abs(factor) == 1 for name, factor in rest.items()):
        return set()
    # Now axis (- of) + constant + scalars op 0.
    offset, found = -difference.constant, set[Limit]()
    plus = tuple(sorted(name[1:] for name, factor in rest.items() if factor < 0))
    minus = tuple(sorted(name[1:] for name, factor in rest.items() if factor > 0))
    if op in ("le", "lt", "eq"):
        found.add(Limit(axis, "upto", of, offset - (op == "lt"), plus, minus))
    if op in ("ge", "gt", "eq"):
        found.add(Limit(axis, "from", of, offset + (op == "gt"), plus, minus))
    return found


def _linear(definitions: Definitions, name: str) -> _Linear | None:
    e = definitions.get(name)
    if e is None:
        return None
    if e.op == "iota":
        return _Linear({e.attrs["axis"]: 1}, 0)
    if e.op == "fill":
        value = e.attrs["value"]
        whole = abs(value) < 2**31 and value == int(value)
        return _Linear({}, int(value)) if whole else None
    if e.op == "scalar":
        return _Linear({f"%{name}": 1}, 0)
    operands = [_linear(definitions, operand) for operand in e.inputs]
    if e.op == "neg" and operands[0] is not None:
        return _Linear({}, 0).plus(operands[0], -1)
    if e.op in WIDENING and operands[0] is not None:
        return operands[0]
    if e.op in ("add", "sub") and operands[0] is not None and operands[1] is not None:
        return operands[0].plus(operands[1], 1 if e.op == "add" else -1)
    return None
