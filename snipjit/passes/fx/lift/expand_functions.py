"""Functions of numbers written in the rows of ``ir/operations.py``, as accurate as PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable

from snipjit.passes.fx.lift.expand_activations import finite_log1p, log1p_exp
from snipjit.passes.fx.lift.expansion import Expansion


def _expm1(e: Expansion) -> str:
    """``exp(x) - 1``; what rounding takes from the exponential is put back (Kahan)."""
    x = e["input"]
    power = e.op("exp", x)
    less = e.op("sub", power, 1.0)
    exact = e.op("mul", less, e.op("div", x, e.op("log", power)))
    ends = e.op("or", e.op("eq", less, -1.0), e.op("eq", power, math.inf))
    return e.op("where", e.op("eq", power, 1.0), x, e.op("where", ends, less, exact))


def _log1p(e: Expansion, x: str) -> str:
    return e.op("where", e.op("eq", x, math.inf), x, finite_log1p(e, x))


def _logaddexp(e: Expansion) -> str:
    """``log(exp(a) + exp(b))``; of equal infinities it is theirs."""
    a, b = e["input"], e["other"]
    distance = e.op("neg", e.op("abs", e.op("sub", a, b)))
    total = e.op("add", e.op("maximum", a, b), log1p_exp(e, distance))
    same = e.op("and", e.op("eq", a, b), e.op("eq", e.op("abs", a), math.inf))
    return e.op("where", same, a, total)


def _times_log(e: Expansion, log: str) -> str:
    """``x · log``; 0 where x is, but of NaN."""
    x, other = e["input"], e["other"]
    product = e.op("mul", x, log)
    zero = e.op("where", e.op("eq", x, 0.0), 0.0, product)
    return e.op("where", e.op("ne", other, other), other, zero)


def _entr(e: Expansion) -> str:
    """``-x log(x)``; 0 of 0, and -inf below."""
    x = e["input"]
    inside = e.op("neg", e.op("mul", x, e.op("log", x)))
    inside = e.op("where", e.op("eq", x, 0.0), 0.0, inside)
    return e.op("where", e.op("lt", x, 0.0), -math.inf, inside)


def _either(e: Expansion, function: str) -> str:
    """The larger or smaller operand; the other one of NaN."""
    a, b = e["input"], e["other"]
    both = e.op(function, a, b)
    both = e.op("where", e.op("ne", b, b), a, both)
    return e.op("where", e.op("ne", a, a), b, both)


def _trunc(e: Expansion) -> str:
    x = e["input"]
    return e.op("where", e.op("lt", x, 0.0), e.op("ceil", x), e.op("floor", x))


def _heaviside(e: Expansion) -> str:
    x = e["input"]
    step = e.op("where", e.op("gt", x, 0.0), 1.0, 0.0)
    return e.op("where", e.op("eq", x, 0.0), e["values"], step)


FUNCTIONS: dict[str, Callable[[Expansion], str]] = {
    "expm1": _expm1,
    "log1p": lambda e: _log1p(e, e["input"]),
    "logaddexp": _logaddexp,
    "xlogy": lambda e: _times_log(e, e.op("log", e["other"])),
    "xlog1py": lambda e: _times_log(e, _log1p(e, e["other"])),
    "entr": _entr,
    "fmax": lambda e: _either(e, "maximum"),
    "fmin": lambda e: _either(e, "minimum"),
    "trunc": _trunc,
    "frac": lambda e: e.op("sub", e["input"], _trunc(e)),
    "heaviside": _heaviside,
    "ldexp": lambda e: e.op("mul", e["input"], e.op("exp2", e["other"])),
    "deg2rad": lambda e: e.op("mul", e["input"], math.pi / 180),
    "rad2deg": lambda e: e.op("mul", e["input"], 180 / math.pi),
    "isposinf": lambda e: e.op("eq", e["input"], math.inf),
    "isneginf": lambda e: e.op("eq", e["input"], -math.inf),
}
