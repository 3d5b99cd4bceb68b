"""The elementwise functions both IRs share: one row each, with its NumPy meaning.

A function maps equal-shaped (or broadcast) operands element by element. ``result`` is ``"same"``
(the type of the last operand) or the element type every call has. How a function is emitted stands
in ``passes/llvm/emit_elementwise.py``, keyed by the same name; a test demands that both have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import e, erf, log

import numpy as np

from snipjit.element_types import round_to

Array = np.ndarray


@dataclass(frozen=True)
class Elementwise:
    """One elementwise function: its name in the IRs, operand count, NumPy meaning, result type."""

    name: str
    arity: int
    numpy: Callable[..., Array]
    result: str = "same"


def _larger(a: Array, b: Array) -> Array:
    """The larger operand, ``b`` where they do not compare: one instruction on every CPU."""
    return np.where(a > b, a, b)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-x)), dtype=x.dtype)


_ROWS = (
    Elementwise("add", 2, np.add),
    Elementwise("sub", 2, np.subtract),
    Elementwise("mul", 2, np.multiply),
    Elementwise("div", 2, np.divide),
    Elementwise("larger", 2, _larger),
    Elementwise("maximum", 2, np.maximum),
    Elementwise("minimum", 2, np.minimum),
    Elementwise("pow", 2, np.power),
    Elementwise("fms", 3, lambda a, b, c: a * b - c),
    Elementwise("neg", 1, np.negative),
    Elementwise("abs", 1, np.abs),
    Elementwise("exp", 1, np.exp),
    Elementwise("exp2", 1, np.exp2),
    Elementwise("exp4", 1, lambda x: np.exp2(x + x)),
    Elementwise("log", 1, np.log),
    Elementwise("sqrt", 1, np.sqrt),
    Elementwise("tanh", 1, np.tanh),
    Elementwise("sigmoid", 1, _sigmoid),
    Elementwise("erf", 1, np.vectorize(erf, otypes=[np.float64])),
    Elementwise("floor", 1, np.floor),
    Elementwise("ceil", 1, np.ceil),
    Elementwise("round", 1, np.round),
    Elementwise("sign", 1, np.sign),
    Elementwise("eq", 2, np.equal, "i1"),
    Elementwise("ne", 2, np.not_equal, "i1"),
    Elementwise("lt", 2, np.less, "i1"),
    Elementwise("le", 2, np.less_equal, "i1"),
    Elementwise("gt", 2, np.greater, "i1"),
    Elementwise("ge", 2, np.greater_equal, "i1"),
    Elementwise("and", 2, np.logical_and, "i1"),
    Elementwise("or", 2, np.logical_or, "i1"),
    Elementwise("xor", 2, np.logical_xor, "i1"),
    Elementwise("not", 1, np.logical_not, "i1"),
    Elementwise("where", 3, np.where),
    Elementwise("to_f32", 1, lambda x: np.asarray(x).astype(np.float32), "f32"),
    Elementwise("to_bf16", 1, lambda x: round_to("bf16", x), "bf16"),
    Elementwise("to_f16", 1, lambda x: round_to("f16", x), "f16"),
    Elementwise("to_i1", 1, lambda x: np.asarray(x) != 0, "i1"),
)

ELEMENTWISE: dict[str, Elementwise] = {row.name: row for row in _ROWS}

EXPONENTIALS = ("exp", "exp2", "exp4")
"""Where the model has rounded what they are taken of to float16 they say so: ``rounded=f16``."""

LOG4_E = log(e, 4)
"""Turns an exponent of ``exp`` into one of ``exp4``. Less than 1: what is finite stays so."""


@dataclass(frozen=True)
class Monoid:
    """An associative combination: its binary function and the element that changes nothing."""

    combine: str
    identity: float
    numpy: Callable[..., Array]
    dtype: str = "f32"


MONOIDS: dict[str, Monoid] = {
    "sum": Monoid("add", 0.0, np.sum),
    "max": Monoid("maximum", float("-inf"), np.max),
    "min": Monoid("minimum", float("inf"), np.min),
    # ``max`` that may drop a NaN: softmax needs no more, since exp brings every NaN back.
    "larger": Monoid("larger", float("-inf"), np.fmax.reduce),
    "any": Monoid("or", False, np.logical_or.reduce, "i1"),
}
