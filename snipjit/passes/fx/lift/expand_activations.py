"""Activation functions written in the rows of ``ir/operations.py``."""

from __future__ import annotations

import math
from collections.abc import Callable

from snipjit.passes.fx.lift.expand_logarithms import log1p_exp
from snipjit.passes.fx.lift.expansion import Expansion
from snipjit.passes.fx.nodes.refused import RefusedError

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _between(e: Expansion, value: str, low: float, high: float) -> str:
    return e.op("minimum", e.op("maximum", value, low), high)


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


def _below_zero(e: Expansion, x: str, slope: str) -> str:
    return e.op("where", e.op("gt", x, 0.0), x, e.op("mul", x, slope))


def _leaky_relu(e: Expansion) -> str:
    return _below_zero(e, e["input"], e.scalar("negative_slope", 0.01))


def _elu(e: Expansion) -> str:
    """``scale·(x, or alpha·(exp(input_scale·x) - 1) below 0)``."""
    x = e["input"]
    held = e.scaled(e.op("minimum", x, 0.0), "input_scale")
    below = e.op("mul", e.op("expm1", held), e.scalar("alpha", 1.0))
    return e.scaled(e.op("where", e.op("gt", x, 0.0), x, below), "scale")


def _prelu(e: Expansion) -> str:
    """The weight is one for all, or one a channel; channels are the second dim."""
    x, weight = e["input"], e["weight"]
    if e.writer.types[weight].dims:
        for _ in range(len(e.writer.types[x].dims) - 2):
            weight = e.writer.insert_dim(weight, 1)
    return _below_zero(e, x, weight)


def _rrelu(e: Expansion) -> str:
    if e.call.get("training", False) is not False:
        raise RefusedError("`rrelu` draws slopes; accepted: training=False")
    x, both = e["input"], e.op("add", e.scalar("lower", 1 / 8), e.scalar("upper", 1 / 3))
    return _below_zero(e, x, e.op("mul", both, 0.5))


def _hardsigmoid(e: Expansion) -> str:
    return e.op("div", _between(e, e.op("add", e["input"], 3.0), 0.0, 6.0), 6.0)


def _hardswish(e: Expansion) -> str:
    return e.op("mul", e["input"], _hardsigmoid(e))


def _hardtanh(e: Expansion) -> str:
    low, high = e.scalar("min", -1.0), e.scalar("max", 1.0)
    return e.op("minimum", e.op("maximum", e["input"], low), high)


def _threshold(e: Expansion) -> str:
    x = e["input"]
    return e.op("where", e.op("gt", x, e["threshold"]), x, e["value"])


def _softplus(e: Expansion) -> str:
    x = e.scaled(e["input"], "beta")
    soft = log1p_exp(e, x)
    if e.call.get("beta", 1) != 1:
        soft = e.op("div", soft, e["beta"])
    return e.op("where", e.op("gt", x, e.scalar("threshold", 20.0)), e["input"], soft)


def _logsigmoid(e: Expansion) -> str:
    return e.op("neg", log1p_exp(e, e.op("neg", e["input"])))


def _mish(e: Expansion) -> str:
    x = e["input"]
    return e.op("mul", x, e.op("tanh", log1p_exp(e, x)))


def _celu(e: Expansion) -> str:
    x, alpha = e["input"], e.scalar("alpha", 1.0)
    below = e.op("expm1", e.op("div", e.op("minimum", x, 0.0), alpha))
    return e.op("add", e.op("maximum", x, 0.0), e.op("mul", below, alpha))


def _selu(e: Expansion) -> str:
    x = e["input"]
    below = e.op("mul", e.op("expm1", e.op("minimum", x, 0.0)), _SELU_ALPHA)
    return e.op("mul", e.op("where", e.op("gt", x, 0.0), x, below), _SELU_SCALE)


def _softsign(e: Expansion) -> str:
    x = e["input"]
    return e.op("div", x, e.op("add", e.op("abs", x), 1.0))


def _softshrink(e: Expansion) -> str:
    """What lies between the bounds is 0 times itself: NaN stays, and so does the sign."""
    x, bound = e["input"], e.scalar("lambd", 0.5)
    below = e.op(
        "where", e.op("lt", x, e.op("neg", bound)), e.op("add", x, bound), e.op("mul", x, 0.0)
    )
    return e.op("where", e.op("gt", x, bound), e.op("sub", x, bound), below)


def _hardshrink(e: Expansion) -> str:
    x = e["input"]
    return e.op("where", e.op("le", e.op("abs", x), e.scalar("lambd", 0.5)), 0.0, x)


def _logit(e: Expansion) -> str:
    x, eps = e["input"], e.call.get("eps")
    if eps is not None:
        low = e.scalar("eps", 0.0)
        x = e.op("minimum", e.op("maximum", x, low), e.op("sub", 1.0, low))
    return e.op("log", e.op("div", x, e.op("sub", 1.0, x)))


ACTIVATIONS: dict[str, Callable[[Expansion], str]] = {
    "relu": lambda e: e.op("maximum", e["input"], 0.0),
    "relu6": lambda e: _between(e, e["input"], 0.0, 6.0),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "prelu": _prelu,
    "prelu_kernel": lambda e: _below_zero(e, e["input"], e["weight"]),
    "rrelu": _rrelu,
    "gelu": _gelu,
    "silu": _silu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "hardtanh": _hardtanh,
    "tanhshrink": lambda e: e.op("sub", e["input"], e.op("tanh", e["input"])),
    "softsign": _softsign,
    "softshrink": _softshrink,
    "hardshrink": _hardshrink,
    "logit": _logit,
    "threshold": _threshold,
    "softplus": _softplus,
    "logsigmoid": _logsigmoid,
    "mish": _mish,
    "celu": _celu,
    "selu": _selu,
}
