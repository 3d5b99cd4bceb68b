"""Functions of numbers written in the rows of ``ir/operations.py``, with PyTorch's special values.

Each is as accurate as PyTorch's. Those of exponentials and logarithms are in
``expand_logarithms.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from snipjit.ir.element_types import ELEMENT_TYPES
from snipjit.passes.fx.lift.expand_logarithms import LOGARITHMS
from snipjit.passes.fx.lift.expansion import Expansion
from snipjit.passes.fx.nodes.refused import RefusedError


def _but_not_nan(e: Expansion, comparison: str) -> str:
    """The operand that compares so with the other one, which is not asked where it is NaN."""
    x, y = e["input"], e["other"]
    chosen = e.op("where", e.op(comparison, x, y), x, y)
    return e.op("where", e.op("ne", y, y), x, chosen)


def _trunc(e: Expansion) -> str:
    x = e["input"]
    return e.op("where", e.op("lt", x, 0.0), e.op("ceil", x), e.op("floor", x))


def _heaviside(e: Expansion) -> str:
    x = e["input"]
    step = e.op("where", e.op("gt", x, 0.0), 1.0, 0.0)
    return e.op("where", e.op("eq", x, 0.0), e["values"], step)


def _angle(e: Expansion) -> str:
    """Of a real number: 0, or π below 0."""
    x = e["input"]
    found = e.op("where", e.op("lt", x, 0.0), math.pi, 0.0)
    return e.op("where", e.op("ne", x, x), x, found)


def _hypot(e: Expansion) -> str:
    """``√(x² + y²)`` by the quotient of the two, whose square is not too large for float32."""
    x, y = e.op("abs", e["input"]), e.op("abs", e["other"])
    larger, smaller = e.op("maximum", x, y), e.op("minimum", x, y)
    quotient = e.op("where", e.op("eq", smaller, 0.0), smaller, e.op("div", smaller, larger))
    root = e.op("sqrt", e.op("add", e.op("mul", quotient, quotient), 1.0))
    infinite = e.op("or", e.op("eq", x, math.inf), e.op("eq", y, math.inf))
    return e.op("where", infinite, math.inf, e.op("mul", larger, root))


def _ndtr(e: Expansion) -> str:
    """The normal distribution's, as torch composes it."""
    inner = e.op("erf", e.op("mul", e["input"], math.sqrt(0.5)))
    return e.op("mul", e.op("add", inner, 1.0), 0.5)


def _isclose(e: Expansion) -> str:
    """As torch computes it; of 16 bits it would round the tolerance on the way."""
    x, y = e["input"], e["other"]
    for name in (x, y):
        if (dtype := e.writer.types[name].dtype) != "f32":
            raise RefusedError(f"`isclose` of {dtype}; accepted: float32")
    distance = e.op("abs", e.op("sub", x, y))
    relative = e.op("abs", e.op("mul", y, e.scalar("rtol", 1e-5)))
    near = e.op("le", distance, e.op("add", relative, e.scalar("atol", 1e-8)))
    near = e.op("and", near, e.op("lt", distance, math.inf))
    close = e.op("or", e.op("eq", x, y), near)
    if not e.call.get("equal_nan", False):
        return close
    return e.op("or", close, e.op("and", e.op("ne", x, x), e.op("ne", y, y)))


def _isnan(e: Expansion) -> str:
    x = e["input"]
    return e.op("ne", x, x)


def _nan_to_num(e: Expansion) -> str:
    x = e["input"]
    element = e.writer.types[x].element
    element = element if element.kind == "float" else ELEMENT_TYPES["f32"]
    names = ("posinf", "neginf", "nan")
    given = [e.call.get(name) for name in names]
    usual = (element.largest, element.lowest, 0.0)
    values = [v if v is not None else d for v, d in zip(given, usual, strict=True)]
    high, low, nan = (e.operand(value) for value in values)
    finite = e.op("where", e.op("eq", x, math.inf), high, x)
    finite = e.op("where", e.op("eq", x, -math.inf), low, finite)
    return e.op("where", e.op("ne", x, x), nan, finite)


FUNCTIONS: dict[str, Callable[[Expansion], str]] = {
    **LOGARITHMS,
    "fmax": lambda e: _but_not_nan(e, "gt"),
    "fmin": lambda e: _but_not_nan(e, "lt"),
    "trunc": _trunc,
    "frac": lambda e: e.op("sub", e["input"], _trunc(e)),
    "heaviside": _heaviside,
    "ldexp": lambda e: e.op("mul", e["input"], e.op("pow", 2.0, e["other"])),
    "angle": _angle,
    "deg2rad": lambda e: e.op("mul", e["input"], math.pi / 180),
    "rad2deg": lambda e: e.op("mul", e["input"], 180 / math.pi),
    "hypot": _hypot,
    "ndtr": _ndtr,
    "isclose": _isclose,
    "isnan": _isnan,
    "isfinite": lambda e: e.op("lt", e.op("abs", e["input"]), math.inf),
    "isinf": lambda e: e.op("eq", e.op("abs", e["input"]), math.inf),
    "isposinf": lambda e: e.op("eq", e["input"], math.inf),
    "isneginf": lambda e: e.op("eq", e["input"], -math.inf),
    "nan_to_num": _nan_to_num,
}
