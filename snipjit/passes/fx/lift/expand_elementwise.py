"""Composed functions written in the rows of ``ir/operations.py``; one small function each.

Numbers that the model chose become scalars of the call; numbers that belong to the function itself
(the 0.5 of gelu) become constants of the structure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from snipjit.ir.exact_integers import EXACT
from snipjit.ir.operations import ELEMENTWISE
from snipjit.passes.fx.lift.expand_activations import ACTIVATIONS
from snipjit.passes.fx.lift.expand_functions import FUNCTIONS
from snipjit.passes.fx.lift.expansion import Expansion
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import Call
from snipjit.passes.fx.nodes.refused import RefusedError


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


def _add(e: Expansion) -> str:
    return e.op("add", e["input"], e.scaled(e["other"], "alpha"))


def _sub(e: Expansion) -> str:
    return e.op("sub", e["input"], e.scaled(e["other"], "alpha"))


def _rsub(e: Expansion) -> str:
    value = e.scaled(e["input"], "alpha")
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


def _clamp(e: Expansion) -> str:
    value = e["input"]
    if e.call.get("min") is not None:
        value = e.op("maximum", value, e["min"])
    return value if e.call.get("max") is None else e.op("minimum", value, e["max"])


def _masked_fill(e: Expansion) -> str:
    value = e["input"]
    return e.op("where", e["mask"], e["value"], value)


def _addcmul(e: Expansion) -> str:
    term = e.op("mul", e["tensor1"], e["tensor2"])
    return e.op("add", e["input"], e.scaled(term, "value"))


def _addcdiv(e: Expansion) -> str:
    term = e.op("div", e["tensor1"], e["tensor2"])
    return e.op("add", e["input"], e.scaled(term, "value"))


def _lerp(e: Expansion) -> str:
    start = e["input"]
    return e.op("add", start, e.op("mul", e.op("sub", e["end"], start), e["weight"]))


def _fake_quantize(e: Expansion) -> str:
    """As torch rounds: times the reciprocal of the scale, half to even; NaN gives the lowest."""
    limits = [e.call.get(name) for name in ("quant_min", "quant_max")]
    if not all(isinstance(limit, int) and abs(limit) <= EXACT for limit in limits):
        raise RefusedError(f"`fake_quantize` to {limits}; accepted: integers that float32 holds")
    scale, zero = e["scale"], e["zero_point"]
    level = e.op("round", e.op("mul", e["input"], e.op("div", 1.0, scale)))
    level = e.op("larger", e.op("add", level, zero), e["quant_min"])
    level = e.op("minimum", level, e["quant_max"])
    return e.op("mul", e.op("sub", level, zero), scale)


_COMPOSED: dict[str, Callable[[Expansion], str]] = {
    **ACTIVATIONS,
    **FUNCTIONS,
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
    "clamp": _clamp,
    "clamp_min": lambda e: e.op("maximum", e["input"], e["min"]),
    "clamp_max": lambda e: e.op("minimum", e["input"], e["max"]),
    "masked_fill": _masked_fill,
    "where": lambda e: e.op("where", e["condition"], e["input"], e["other"]),
    "where_method": lambda e: e.op("where", e["condition"], e["input"], e["other"]),
    "addcmul": _addcmul,
    "addcdiv": _addcdiv,
    "lerp": _lerp,
    "fake_quantize": _fake_quantize,
}
