"""The elementwise functions both IRs share: one row each, with all that is known of one.

A function maps equal-shaped (or broadcast) operands element by element. How it is emitted stands in
``passes/llvm/emit_elementwise.py``, keyed by the same name; a test demands that both have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import e, erf, inf, log
from typing import Literal

import numpy as np

from snipjit.ir.element_types import ELEMENT_TYPES, Array, ElementType, round_to

Kind = Literal["arithmetic", "function", "exponential", "comparison", "logic", "choice", "cast"]

ALIKE = ""
"""In place of an operand's element type: the one that all such operands have."""


@dataclass(frozen=True)
class Elementwise:
    """One elementwise function.

    name      in both IRs
    operands  the element type of each, ``ALIKE`` where it is free
    numpy     what it means
    kind      what is asked of it beside its row
    result    the element type of every call, ``ALIKE`` for that of such operands
    linear    sets of operands: scaled all by one factor, they scale the result by it
    exact     whole numbers below 2^24 give a whole number, the right one if that is below it
    mirrored  the comparison that says the same of swapped operands
    negated   the comparison that holds where this one does not, NaN aside
    """

    name: str
    operands: tuple[str, ...]
    numpy: Callable[..., Array]
    kind: Kind = "arithmetic"
    result: str = ALIKE
    linear: tuple[tuple[int, ...], ...] = ()
    exact: bool = False
    mirrored: str = ""
    negated: str = ""

    @property
    def arity(self) -> int:
        """How many operands it has."""
        return len(self.operands)


def _larger(a: Array, b: Array) -> Array:
    """The larger operand, ``b`` where they do not compare: one instruction on every CPU."""
    return np.where(a > b, a, b)


def _safe(x: Array) -> Array:
    """The operand, 0 where it is -inf: a maximum that can be subtracted from what it is of."""
    return np.where(np.isneginf(x), 0.0, x)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), dtype=x.dtype)


_ONE, _TWO = (ALIKE,), (ALIKE, ALIKE)
_SUM = ((0, 1),)


def _function(name: str, numpy: Callable[..., Array], exact: bool = False) -> Elementwise:
    return Elementwise(name, _ONE, numpy, "function", exact=exact)


def _exponential(name: str, numpy: Callable[..., Array]) -> Elementwise:
    return Elementwise(name, _ONE, numpy, "exponential")


def _comparison(name: str, numpy: Callable[..., Array], mirrored: str, negated: str) -> Elementwise:
    return Elementwise(
        name, _TWO, numpy, "comparison", "i1", exact=True, mirrored=mirrored, negated=negated
    )


def _logic(name: str, numpy: Callable[..., Array], arity: int = 2) -> Elementwise:
    return Elementwise(name, ("i1",) * arity, numpy, "logic", "i1")


def _cast(to: ElementType) -> Elementwise:
    def numpy(x: Array) -> Array:
        if to.is_narrow:
            return round_to(to.name, x)
        x = np.asarray(x)
        if to.kind != "integer":
            return np.asarray(x != 0 if to.kind == "truth" else to.round(x), dtype=to.torch)
        whole = to.round(x)  # of which the largest may be no float64
        return np.where(whole >= to.largest, int(to.largest), whole.astype(to.torch))

    return Elementwise(f"to_{to.name}", _ONE, numpy, "cast", to.name)


_ROWS = (
    Elementwise("add", _TWO, np.add, linear=_SUM, exact=True),
    Elementwise("sub", _TWO, np.subtract, linear=_SUM, exact=True),
    Elementwise("mul", _TWO, np.multiply, linear=((0,), (1,))),
    Elementwise("div", _TWO, np.divide, linear=((0,),)),
    Elementwise("larger", _TWO, _larger, exact=True),
    Elementwise("maximum", _TWO, np.maximum, exact=True),
    Elementwise("minimum", _TWO, np.minimum, exact=True),
    Elementwise("pow", _TWO, np.power, "function"),
    Elementwise("fms", (ALIKE,) * 3, lambda a, b, c: a * b - c, linear=((0, 2), (1, 2))),
    Elementwise("neg", _ONE, np.negative, linear=((0,),), exact=True),
    Elementwise("abs", _ONE, np.abs, exact=True),
    _exponential("exp", np.exp),
    _exponential("exp2", np.exp2),
    _exponential("exp4", lambda x: np.exp2(x + x)),
    _function("expm1", np.expm1),
    _function("log", np.log),
    _function("sqrt", np.sqrt),
    _function("tanh", np.tanh),
    _function("sigmoid", _sigmoid),
    _function("erf", np.vectorize(erf, otypes=[np.float64])),
    _function("safe", _safe, exact=True),
    _function("floor", np.floor, exact=True),
    _function("ceil", np.ceil, exact=True),
    _function("round", np.round, exact=True),
    _function("sign", np.sign, exact=True),
    _comparison("eq", np.equal, "eq", "ne"),
    _comparison("ne", np.not_equal, "ne", "eq"),
    _comparison("lt", np.less, "gt", "ge"),
    _comparison("le", np.less_equal, "ge", "gt"),
    _comparison("gt", np.greater, "lt", "le"),
    _comparison("ge", np.greater_equal, "le", "lt"),
    _logic("and", np.logical_and),
    _logic("or", np.logical_or),
    _logic("xor", np.logical_xor),
    _logic("not", np.logical_not, 1),
    Elementwise("where", ("i1", *_TWO), np.where, "choice", linear=((1, 2),), exact=True),
)

ELEMENTWISE: dict[str, Elementwise] = {row.name: row for row in _ROWS}
"""By name; every element type has its cast among them."""


def add_element_type(row: ElementType) -> None:
    """Make an element type known to both IRs, with the cast to it.

    ``passes/llvm/emit_convert.CONVERSIONS`` has to say how memory holds it, if registers do not.
    """
    ELEMENT_TYPES[row.name] = row
    cast = _cast(row)
    ELEMENTWISE[cast.name] = cast


for _type in ELEMENT_TYPES.values():
    add_element_type(_type)


def kind_of(op: str) -> Kind | None:
    """The kind of an elementwise function; None for any other operation."""
    row = ELEMENTWISE.get(op)
    return row.kind if row is not None else None


def is_exact(op: str) -> bool:
    """Whether whole numbers give whole numbers, in float32 too; not of their bits."""
    to = cast_to(op)
    return ELEMENTWISE[op].exact if to is None else to.kind != "truth"


def cast_to(op: str) -> ElementType | None:
    """The element type that a cast converts to; None for any other operation."""
    return ELEMENT_TYPES[ELEMENTWISE[op].result] if kind_of(op) == "cast" else None


def wrong_operands(row: Elementwise, found: Sequence[str]) -> str | None:
    """What is wrong with the element types of a function's operands; None if nothing is."""
    for wanted, dtype in zip(row.operands, found, strict=True):
        if wanted not in (ALIKE, dtype):
            return f"{row.name} takes {wanted}, not {dtype}"
    alike = [dtype for wanted, dtype in zip(row.operands, found, strict=True) if wanted == ALIKE]
    if len(set(alike)) > 1:
        return f"operands of different element types {', '.join(alike)}; convert one"
    return None


EXPONENTIALS = tuple(row.name for row in _ROWS if row.kind == "exponential")
"""Where the model has rounded what they are taken of to float16 they say so: ``rounded=f16``."""

SCALINGS = tuple(row.name for row in _ROWS if row.arity == 2 and (0,) in row.linear)
"""The functions that scale their first operand by the second."""

LOG4_E = log(e, 4)
"""Turns an exponent of ``exp`` into one of ``exp4``. Less than 1: what is finite stays so."""


@dataclass(frozen=True)
class Monoid:
    """An associative combination: its binary function and the element that changes nothing."""

    combine: str
    identity: float
    numpy: Callable[..., Array]
    dtype: str = "f32"

    @property
    def is_maximum(self) -> bool:
        """Whether it finds the greatest element."""
        return self.identity == -inf


MONOIDS: dict[str, Monoid] = {
    "sum": Monoid("add", 0.0, np.sum),
    "max": Monoid("maximum", -inf, np.max),
    "min": Monoid("minimum", inf, np.min),
    # ``max`` that may drop a NaN: softmax needs no more, since exp brings every NaN back.
    "larger": Monoid("larger", -inf, np.fmax.reduce),
    "any": Monoid("or", False, np.logical_or.reduce, "i1"),
}

MAXIMA = tuple(monoid.combine for monoid in MONOIDS.values() if monoid.is_maximum)
"""The functions that give the greater of two."""
