"""The rows of the op table that work element by element, and what is refused of such by name.

Together they are every pointwise function that PyTorch has: a test goes through its registry, and
names what a new version adds.
"""

from __future__ import annotations

import builtins
import operator as op
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from snipjit.passes.fx.nodes.op_row import Row, Spelling, spelled_by

_ONE, _TWO = "input", "input other"
_QUANTIZED = "input scale zero_point quant_min quant_max"

POINTWISE = (
    # Elementwise, as in operations.py.
    Row("add", "input other alpha", "add", (op.add, op.iadd)),
    Row("sub", "input other alpha", "sub subtract", (op.sub, op.isub)),
    Row("rsub", "input other alpha", "rsub", ("__rsub__",)),
    Row("mul", _TWO, "mul multiply", (op.mul, op.imul)),
    Row("div", "input other rounding_mode", "div divide true_divide", (op.truediv, op.itruediv)),
    Row("rdiv", _TWO, "", ("__rtruediv__", "__rdiv__")),
    Row("maximum", _TWO, "maximum"),
    Row("minimum", _TWO, "minimum"),
    Row("pow", "input exponent", "pow float_power", (op.pow, op.ipow)),
    Row("neg", _ONE, "neg negative", (op.neg,)),
    Row("abs", _ONE, "abs absolute", (op.abs, builtins.abs)),
    Row("exp", _ONE, "exp"),
    Row("exp2", _ONE, "exp2"),
    Row("log", _ONE, "log"),
    Row("sqrt", _ONE, "sqrt"),
    Row("tanh", _ONE, "tanh"),
    Row("sigmoid", _ONE, "sigmoid expit"),
    Row("erf", _ONE, "erf"),
    Row("floor", _ONE, "floor"),
    Row("ceil", _ONE, "ceil"),
    Row("round", "input decimals", "round"),
    Row("sign", _ONE, "sign sgn"),
    Row("eq", _TWO, "eq", (op.eq, "__eq__")),
    Row("ne", _TWO, "ne not_equal", (op.ne, "__ne__")),
    Row("lt", _TWO, "lt less", (op.lt, "__lt__")),
    Row("le", _TWO, "le less_equal", (op.le, "__le__")),
    Row("gt", _TWO, "gt greater", (op.gt, "__gt__")),
    Row("ge", _TWO, "ge greater_equal", (op.ge, "__ge__")),
    Row("and", _TWO, "logical_and bitwise_and __and__", (op.and_, op.iand)),
    Row("or", _TWO, "logical_or bitwise_or __or__", (op.or_, op.ior)),
    Row("xor", _TWO, "logical_xor bitwise_xor __xor__", (op.xor, op.ixor)),
    Row("not", _ONE, "logical_not bitwise_not", (op.invert, "__invert__")),
    Row("where", "condition input other", "", (torch.where, *spelled_by("where")[2:])),
    Row("where_method", "input condition other", "", ("where",)),
    # Composed of elementwise ops, in expand_elementwise.py and the files that it imports.
    Row("square", _ONE, "square"),
    Row("rsqrt", _ONE, "rsqrt"),
    Row("reciprocal", _ONE, "reciprocal"),
    Row("log2", _ONE, "log2"),
    Row("log10", _ONE, "log10"),
    Row("relu", "input inplace", "relu"),
    Row("relu6", "input inplace", "relu6"),
    Row("leaky_relu", "input negative_slope inplace", "leaky_relu"),
    Row("elu", "input alpha inplace", "", (F.elu,)),
    Row("elu", "input alpha scale input_scale", "elu"),
    Row("prelu", "input weight", "prelu"),
    Row("prelu_kernel", "input weight", "_prelu_kernel"),
    Row("rrelu", "input lower upper training inplace", "", (F.rrelu,)),
    Row("rrelu", "input lower upper training generator", "rrelu"),
    Row("gelu", "input approximate", "gelu"),
    Row("silu", "input inplace", "silu"),
    Row("hardsigmoid", "input inplace", "hardsigmoid"),
    Row("hardswish", "input inplace", "hardswish"),
    Row("hardtanh", "input min max inplace", "hardtanh"),
    Row("tanhshrink", _ONE, "tanhshrink"),
    Row("softsign", _ONE, "softsign"),
    Row("softshrink", "input lambd", "softshrink"),
    Row("hardshrink", "input lambd", "hardshrink"),
    Row("logit", "input eps", "logit"),
    Row("threshold", "input threshold value inplace", "threshold"),
    Row("clamp", "input min max", "clamp clip"),
    Row("clamp_min", "input min", "clamp_min"),
    Row("clamp_max", "input max", "clamp_max"),
    Row("masked_fill", "input mask value", "masked_fill"),
    Row("addcmul", "input tensor1 tensor2 value", "addcmul"),
    Row("addcdiv", "input tensor1 tensor2 value", "addcdiv"),
    Row("lerp", "input end weight", "lerp"),
    Row("isnan", _ONE, "isnan"),
    Row("isinf", _ONE, "isinf"),
    Row("isfinite", _ONE, "isfinite"),
    Row("nan_to_num", "input nan posinf neginf", "nan_to_num"),
    Row("trunc", _ONE, "trunc fix"),
    Row("softplus", "input beta threshold", "softplus"),
    Row("logsigmoid", _ONE, "logsigmoid log_sigmoid"),
    Row("mish", "input inplace", "mish"),
    Row("celu", "input alpha inplace", "celu"),
    Row("selu", "input inplace", "selu"),
    Row("expm1", _ONE, "expm1"),
    Row("log1p", _ONE, "log1p"),
    Row("sinh", _ONE, "sinh"),
    Row("cosh", _ONE, "cosh"),
    Row("asinh", _ONE, "asinh arcsinh"),
    Row("acosh", _ONE, "acosh arccosh"),
    Row("atanh", _ONE, "atanh arctanh"),
    Row("logaddexp", _TWO, "logaddexp"),
    Row("logaddexp2", _TWO, "logaddexp2"),
    Row("xlogy", _TWO, "xlogy"),
    Row("xlog1py", _TWO, "xlog1py"),
    Row("entr", _ONE, "entr"),
    Row("ndtr", _ONE, "ndtr"),
    Row("hypot", _TWO, "hypot"),
    Row("frac", _ONE, "frac"),
    Row("angle", _ONE, "angle"),
    Row("deg2rad", _ONE, "deg2rad"),
    Row("rad2deg", _ONE, "rad2deg"),
    Row("ldexp", _TWO, "ldexp"),
    Row("fmax", _TWO, "fmax"),
    Row("fmin", _TWO, "fmin"),
    Row("heaviside", "input values", "heaviside"),
    Row("isposinf", _ONE, "isposinf"),
    Row("isneginf", _ONE, "isneginf"),
    Row("isclose", "input other rtol atol equal_nan", "isclose"),
    Row("fake_quantize", _QUANTIZED, "fake_quantize_per_tensor_affine"),
)

_REASONS = {
    "has no accurate form in the kernels' functions": (
        "sin cos tan asin acos atan atan2 arcsin arccos arctan arctan2 sinc erfc erfcx erfinv "
        "ndtri log_ndtr lgamma gammaln digamma psi polygamma mvlgamma multigammaln igamma igammac "
        "gammainc gammaincc zeta airy_ai i0 i0e i1 i1e bessel_j0 bessel_j1 bessel_y0 bessel_y1 "
        "modified_bessel_i0 modified_bessel_i1 modified_bessel_k0 modified_bessel_k1 "
        "scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0 "
        "chebyshev_polynomial_t chebyshev_polynomial_u chebyshev_polynomial_v "
        "chebyshev_polynomial_w shifted_chebyshev_polynomial_t shifted_chebyshev_polynomial_u "
        "shifted_chebyshev_polynomial_v shifted_chebyshev_polynomial_w hermite_polynomial_h "
        "hermite_polynomial_he laguerre_polynomial_l legendre_polynomial_p"
    ),
    "needs the exact rest of a division": (
        "fmod remainder floor_divide __mod__ __rmod__ __floordiv__ __rfloordiv__"
    ),
    "reads the bits of a number": (
        "copysign signbit nextafter frexp bitwise_left_shift bitwise_right_shift __lshift__ "
        "__rshift__"
    ),
    "is for whole numbers": "gcd lcm",
    "writes in place by the method of an operator": (
        "__iand__ __ior__ __ixor__ __ilshift__ __irshift__"
    ),
    "gives one truth value of whole tensors": "equal",
    "draws at random": "bernoulli binomial poisson",
    "is for complex numbers": "conj_physical _conj_physical",
    "is a part of a loss": (
        "binary_cross_entropy binary_cross_entropy_with_logits gaussian_nll_loss "
        "hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss "
        "poisson_nll_loss smooth_l1_loss soft_margin_loss"
    ),
    "is a part of a gradient": (
        "elu_backward gelu_backward hardsigmoid_backward hardswish_backward hardtanh_backward "
        "leaky_relu_backward log_sigmoid_backward logit_backward mish_backward "
        "native_dropout_backward sigmoid_backward silu_backward softplus_backward "
        "softshrink_backward hardshrink_backward tanh_backward threshold_backward"
    ),
}
"""Why pointwise functions are not taken."""


def _refused() -> dict[Spelling, str]:
    names = {name: reason for reason, names in _REASONS.items() for name in names.split()}
    named = {
        spelling: reason
        for name, reason in names.items()
        for form in (name, f"{name}_")
        for spelling in spelled_by(form)
    }
    operators = (op.mod, op.imod, op.floordiv, op.ifloordiv)
    return named | dict.fromkeys(operators, names["remainder"])


REFUSED_BY_NAME: Mapping[Spelling, str] = _refused()
"""Every spelling of a pointwise function that no row takes, and why."""
