"""Elementwise functions that no kernel computes: PyTorch's own are refused by name."""

from __future__ import annotations

from torch import fx

from snipjit.passes.fx.nodes.calls import spelled

SERIES = frozenset(
    "acos acosh asin asinh atan atan2 atanh cos cosh digamma erfc erfinv i0 igamma igammac lgamma "
    "mvlgamma polygamma sin sinc sinh tan special_airy_ai special_bessel_j0 special_bessel_j1 "
    "special_bessel_y0 special_bessel_y1 special_chebyshev_polynomial_t "
    "special_chebyshev_polynomial_u special_chebyshev_polynomial_v special_chebyshev_polynomial_w "
    "special_erfcx special_hermite_polynomial_h special_hermite_polynomial_he special_i0e "
    "special_i1 special_i1e special_laguerre_polynomial_l special_legendre_polynomial_p "
    "special_log_ndtr special_modified_bessel_i0 special_modified_bessel_i1 "
    "special_modified_bessel_k0 special_modified_bessel_k1 special_ndtri "
    "special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1 "
    "special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u "
    "special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w "
    "special_spherical_bessel_j0 special_zeta".split()
)
"""What needs an approximation of its own."""

BITS = frozenset(
    "angle bitwise_left_shift bitwise_right_shift conj_physical copysign fmod frexp gcd hypot lcm "
    "logaddexp2 nextafter remainder signbit".split()
)
"""What goes by the bits of a number, or would lose some: remainders of large quotients, lengths."""

BACKWARD = frozenset(
    "gelu_backward logit_backward native_dropout_backward sigmoid_backward silu_backward "
    "tanh_backward threshold_backward".split()
)
"""Gradients, which kernels do not compute."""

UNCOVERED = SERIES | BITS | BACKWARD
"""Names without library, overload or the underscore of what works in place."""


def is_uncovered(node: fx.Node) -> bool:
    """Whether a node calls one of them."""
    name = spelled(node).removeprefix("Tensor.").split(".")[0].removesuffix("_")
    return name in UNCOVERED or f"special_{name}" in UNCOVERED
