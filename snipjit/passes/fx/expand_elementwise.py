"""Composed functions written in the rows of ``elementwise.py``; one small function each.

Numbers that the model chose become scalars of the call; numbers that belong to the function itself
(the 0.5 of gelu) become constants of the structure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snipjit.elementwise import ELEMENTWISE
from snipjit.passes.fx.candidate import RefusedError
from snipjit.passes.fx.op_table import Call
from snipjit.passes.fx.subgraph_writer import SubgraphWriter


@dataclass(frozen=True)
class Expansion:
    """One call on its way into the Subgraph: where to write, what to read."""

    writer: SubgraphWriter
    call: Call
    operand: Callable[[Any], str]

    def __getitem__(self, name: str) -> str:
        """The value of a required argument."""
        if name not in self.call.arguments:
            raise RefusedError(f"`{self.call.op}` has no argument `{name}`")
        return self.operand(self.call.arguments[name])

    def scalar(self, name: str, default: float) -> str:
        """The value of an argument that the call may leave out."""
        return self.operand(self.call.get(name, default))

    def op(self, function: str, *values: str | float) -> str:
        """An elementwise function of values and constants."""
        write = self.writer
        names = [value if isinstance(value, str) else write.constant(value) for value in values]
        return write.op(function, *names)


def expand_elementwise(call: Call, writer: SubgraphWriter, operand: Callable[[Any], str]) -> str:
    """The value of an elementwise call, written into the Subgraph."""
    e = Expansion(writer, call, operand)
    if call.op in _COMPOSED:
        return _COMPOSED[call.op](e)
    names = ("input", "other")[: ELEMENTWISE[call.op].arity]
    return e.op(call.op, *(e[name] for name in names))


def is_elementwise(op: str) -> bool:
    """Whether ``expand_elementwise`` takes a canonical op."""
    return op in _COMPOSED or op in ELEMENTWISE


def _scaled(e: Expansion, value: str, by: str) -> str:
    """``value`` times an argument of the call; unwritten where it is literally 1."""
    factor = e.call.get(by, 1)
    literal = isinstance(factor, int | float) and factor == 1
    return value if literal else e.op("mul", value, e.operand(factor))


def _add(e: Expansion) -> str:
    return e.op("add", e["input"], _scaled(e, e["other"], "alpha"))


def _sub(e: Expansion) -> str:
    return e.op("sub", e["input"], _scaled(e, e["other"], "alpha"))


def _rsub(e: Expansion) -> str:
    value = _scaled(e, e["input"], "alpha")
    return e.op("sub", e["other"], value)


def _div(e: Expansion) -> str:
    if e.call.get("rounding_mode") is not None:
        raise RefusedError("`div` rounds; accepted: rounding_mode=None")
    return e.op("div", e["input"], e["other"])


def _round(e: Expansion) -> str:
    if e.call.get("decimals", 0) != 0:
        raise RefusedError("`round` to decimals; accepted: decimals=0")
    return e.op("round", e["input"])


def _pow(e: Expansion) -> str:
    exponent = e.call.get("exponent")
    value = e["input"]
    if not isinstance(exponent, int | float):
        return e.op("pow", value, e["exponent"])
    if exponent == 2:
        return e.op("mul", value, value)
    if exponent in (0.5, -0.5):
        root = e.op("sqrt", value)
        return root if exponent > 0 else e.op("div", 1.0, root)
    return e.op("pow", value, float(exponent))


def _square(e: Expansion) -> str:
    value = e["input"]
    return e.op("mul", value, value)


def _gelu(e: Expansion) -> str:
    x, approximate = e["input"], e.call.get("approximate", "none")
    if approximate == "none":
        inner = e.op("erf", e.op("mul", x, math.sqrt(0.5)))
    else:
        cube = e.op("mul", e.op("mul", x, x), x)
        inner = e.op("add", x, e.op("mul", cube, 0.044715))
        inner = e.op("tanh", e.op("mul", inner, math.sqrt(2 / math.pi)))
    return e.op("mul", e.op("mul", x, 0.5), e.op("add", inner, 1.0))


def _silu(e: Expansion) -> str:
    x = e["input"]
    return e.op("mul", x, e.op("sigmoid", x))


def _leaky_relu(e: Expansion) -> str:
    x = e["input"]
    return e.op("where", e.op("gt", x, 0.0), x, e.op("mul", x, e.scalar("negative_slope", 0.01)))


def _elu(e: Expansion) -> str:
    x = e["input"]
    below = e.op("sub", e.op("exp", e.op("minimum", x, 0.0)), 1.0)
    return e.op("where", e.op("gt", x, 0.0), x, e.op("mul", below, e.scalar("alpha", 1.0)))


def _between(e: Expansion, value: str, low: float, high: float) -> str:
    return e.op("minimum", e.op("maximum", value, low), high)


def _hardsigmoid(e: Expansion) -> str:
    return e.op("div", _between(e, e.op("add", e["input"], 3.0), 0.0, 6.0), 6.0)


def _hardswish(e: Expansion) -> str:
    return e.op("mul", e["input"], _hardsigmoid(e))


def _clamp(e: Expansion) -> str:
    value = e["input"]
    if e.call.get("min") is not None:
        value = e.op("maximum", value, e["min"])
    return value if e.call.get("max") is None else e.op("minimum", value, e["max"])


def _hardtanh(e: Expansion) -> str:
    low, high = e.scalar("min", -1.0), e.scalar("max", 1.0)
    return e.op("minimum", e.op("maximum", e["input"], low), high)


def _threshold(e: Expansion) -> str:
    x = e["input"]
    return e.op("where", e.op("gt", x, e["threshold"]), x, e["value"])


def _masked_fill(e: Expansion) -> str:
    value = e["input"]
    return e.op("where", e["mask"], e["value"], value)


def _addcmul(e: Expansion) -> str:
    term = e.op("mul", e["tensor1"], e["tensor2"])
    return e.op("add", e["input"], _scaled(e, term, "value"))


def _addcdiv(e: Expansion) -> str:
    term = e.op("div", e["tensor1"], e["tensor2"])
    return e.op("add", e["input"], _scaled(e, term, "value"))


def _lerp(e: Expansion) -> str:
    start = e["input"]
    return e.op("add", start, e.op("mul", e.op("sub", e["end"], start), e["weight"]))


def _softsign(e: Expansion) -> str:
    x = e["input"]
    return e.op("div", x, e.op("add", e.op("abs", x), 1.0))


def _isnan(e: Expansion) -> str:
    x = e["input"]
    return e.op("ne", x, x)


_COMPOSED: dict[str, Callable[[Expansion], str]] = {
    "add": _add,
    "sub": _sub,
    "rsub": _rsub,
    "div": _div,
    "rdiv": lambda e: e.op("div", e["other"], e["input"]),
    "round": _round,
    "pow": _pow,
    "square": _square,
    "rsqrt": lambda e: e.op("div", 1.0, e.op("sqrt", e["input"])),
    "reciprocal": lambda e: e.op("div", 1.0, e["input"]),
    "log2": lambda e: e.op("mul", e.op("log", e["input"]), 1 / math.log(2)),
    "log10": lambda e: e.op("mul", e.op("log", e["input"]), 1 / math.log(10)),
    "relu": lambda e: e.op("maximum", e["input"], 0.0),
    "relu6": lambda e: _between(e, e["input"], 0.0, 6.0),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "silu": _silu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "hardtanh": _hardtanh,
    "tanhshrink": lambda e: e.op("sub", e["input"], e.op("tanh", e["input"])),
    "softsign": _softsign,
    "threshold": _threshold,
    "clamp": _clamp,
    "clamp_min": lambda e: e.op("maximum", e["input"], e["min"]),
    "clamp_max": lambda e: e.op("minimum", e["input"], e["max"]),
    "masked_fill": _masked_fill,
    "where": lambda e: e.op("where", e["condition"], e["input"], e["other"]),
    "where_method": lambda e: e.op("where", e["condition"], e["input"], e["other"]),
    "addcmul": _addcmul,
    "addcdiv": _addcdiv,
    "lerp": _lerp,
    "isnan": _isnan,
    "isinf": lambda e: e.op("eq", e.op("abs", e["input"]), math.inf),
}
