"""Functions of exponentials and logarithms that keep the digits which rounding would take.

Near 0 ``log(1 + x)`` has lost most of ``x``. What was lost is known, since the rounded sum is: its
quotient with the exact one is put back (Kahan).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from snipjit.passes.fx.lift.expansion import Expansion

_VAST = 1e9
"""From here on a square leaves nothing of 1 beside it; below, no square is infinite."""


def log1p(e: Expansion, x: str) -> str:
    """``log(1 + x)``; of infinity the quotient would be NaN."""
    total = e.op("add", x, 1.0)
    kept = e.op("mul", e.op("log", total), e.op("div", x, e.op("sub", total, 1.0)))
    unchanged = e.op("or", e.op("eq", total, 1.0), e.op("eq", x, math.inf))
    return e.op("where", unchanged, x, kept)


def log1p_exp(e: Expansion, x: str) -> str:
    """``log(1 + exp(x))`` for all x."""
    return e.op("add", e.op("maximum", x, 0.0), _log1p_exp_below(e, e.op("abs", x)))


def _log1p_exp_below(e: Expansion, distance: str) -> str:
    """``log(1 + exp(-distance))``: no infinity comes out of the exponential."""
    small = e.op("exp", e.op("neg", distance))
    total = e.op("add", small, 1.0)
    lost = e.op("div", small, e.op("sub", total, 1.0))
    return e.op("where", e.op("eq", total, 1.0), small, e.op("mul", e.op("log", total), lost))


def _logaddexp(e: Expansion, base: float) -> str:
    """The larger plus the logarithm of what the smaller adds; equal infinities as they are."""
    x, y = e["input"], e["other"]
    larger = e.op("maximum", x, y)
    distance = e.op("abs", e.op("sub", x, y))
    if base != math.e:
        distance = e.op("mul", distance, math.log(base))
    more = _log1p_exp_below(e, distance)
    if base != math.e:
        more = e.op("mul", more, 1 / math.log(base))
    infinite = e.op("and", e.op("eq", x, y), e.op("eq", e.op("abs", x), math.inf))
    return e.op("where", infinite, larger, e.op("add", larger, more))


def _times_log(e: Expansion, log: Callable[[str], str]) -> str:
    """``x·log(y)`` where 0 times anything but NaN is 0."""
    x, y = e["input"], e["other"]
    found = e.op("where", e.op("eq", x, 0.0), 0.0, e.op("mul", x, log(y)))
    return e.op("where", e.op("ne", y, y), y, found)


def _entr(e: Expansion) -> str:
    """``-x·log(x)``: 0 at 0, -inf below."""
    x = e["input"]
    found = e.op("neg", e.op("mul", x, e.op("log", x)))
    found = e.op("where", e.op("eq", x, 0.0), 0.0, found)
    return e.op("where", e.op("lt", x, 0.0), -math.inf, found)


def _sinh(e: Expansion) -> str:
    x = e["input"]
    size = e.op("abs", x)
    less = e.op("expm1", x)
    near = e.op("mul", e.op("add", less, e.op("div", less, e.op("add", less, 1.0))), 0.5)
    up, down = _halves(e, size)
    far = e.op("sub", up, down)
    far = e.op("where", e.op("lt", x, 0.0), e.op("neg", far), far)
    return e.op("where", e.op("lt", size, 1.0), near, far)


def _cosh(e: Expansion) -> str:
    return e.op("add", *_halves(e, e.op("abs", e["input"])))


def _halves(e: Expansion, size: str) -> tuple[str, str]:
    """``exp(size)/2`` and ``exp(-size)/2``: the first is finite where ``exp(size)`` is not."""
    root = e.op("exp", e.op("mul", size, 0.5))
    half = e.op("mul", root, 0.5)
    return e.op("mul", half, root), e.op("div", e.op("div", 0.5, root), root)


def _asinh(e: Expansion) -> str:
    """``log(a + √(a² + 1))`` of the size, with the sign of x."""
    x = e["input"]
    size = e.op("abs", x)
    square = e.op("mul", size, size)
    root = e.op("sqrt", e.op("add", square, 1.0))
    more = e.op("add", size, e.op("div", square, e.op("add", root, 1.0)))
    found = e.op("where", e.op("gt", size, _VAST), _log_of_twice(e, size), log1p(e, more))
    signed = e.op("where", e.op("lt", x, 0.0), e.op("neg", found), found)
    return e.op("where", e.op("eq", x, 0.0), x, signed)


def _acosh(e: Expansion) -> str:
    """``log(x + √(x² - 1))``, of what x has above 1; each root is NaN below."""
    x = e["input"]
    above = e.op("sub", x, 1.0)
    root = e.op("mul", e.op("sqrt", above), e.op("sqrt", e.op("add", x, 1.0)))
    near = log1p(e, e.op("add", above, root))
    return e.op("where", e.op("gt", x, _VAST), _log_of_twice(e, x), near)


def _log_of_twice(e: Expansion, x: str) -> str:
    return e.op("add", e.op("log", x), math.log(2))


def _atanh(e: Expansion) -> str:
    """Half of ``log((1 + a) / (1 - a))`` of the size, with the sign of x."""
    x = e["input"]
    size = e.op("abs", x)
    quotient = e.op("div", e.op("add", size, size), e.op("sub", 1.0, size))
    found = e.op("mul", log1p(e, quotient), 0.5)
    signed = e.op("where", e.op("lt", x, 0.0), e.op("neg", found), found)
    return e.op("where", e.op("eq", x, 0.0), x, signed)


LOGARITHMS: dict[str, Callable[[Expansion], str]] = {
    "log1p": lambda e: log1p(e, e["input"]),
    "logaddexp": lambda e: _logaddexp(e, math.e),
    "logaddexp2": lambda e: _logaddexp(e, 2.0),
    "xlogy": lambda e: _times_log(e, lambda y: e.op("log", y)),
    "xlog1py": lambda e: _times_log(e, lambda y: log1p(e, y)),
    "entr": _entr,
    "sinh": _sinh,
    "cosh": _cosh,
    "asinh": _asinh,
    "acosh": _acosh,
    "atanh": _atanh,
}
