"""The natural logarithm.

``x = 2^n · m`` with ``m`` in [√½, √2), by integer arithmetic on the bits; then
``log(x) = n·ln(2) + log(m)``, ``log(1 + f) = f - f²/2 + f³·P(f)``. P is a minimax fit of relative
error 3e-8 (Lawson's iteration); the result is good to 2 ulp, denormals included.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, nan

from llvmlite import ir

from snipjit.passes.llvm.arithmetic import fma, polynomial
from snipjit.passes.llvm.vector_ir import F32, F64, I32, I64, constant, element_of, with_element
from snipjit.target.target_machine import TargetMachine

LOG = (0.3333391073612333, -0.2500133702256211, 0.19963063844342005, -0.16577585214698154,
       0.149147680316124, -0.14267482296456807, 0.08700428918817882)  # fmt: skip
# n times the first part is exact.
LN2_PARTS = (0.693359375, log(2.0) - 0.693359375)
SMALLEST_NORMAL = 2.0**-126


@dataclass(frozen=True)
class _Format:
    """A float format: its integer, mantissa bits, exponent bias, and the bits of √½."""

    integer: ir.IntType
    mantissa: int
    bias: int
    root: int


_FORMATS = {
    F32: _Format(I32, 23, 127, 0x3F3504F3),
    F64: _Format(I64, 52, 1023, 0x3FE6A09E667F3BCD),
}


def emit_log(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """``log(x)``: -inf at 0, NaN below."""
    denormal = builder.fcmp_ordered("<", x, constant(x.type, SMALLEST_NORMAL))
    scaled = builder.fmul(x, constant(x.type, 2.0**23))
    n, m = split(builder, builder.select(denormal, scaled, x))
    scaled_n = builder.fsub(n, constant(x.type, 23.0))
    n = builder.select(denormal, scaled_n, n)
    finite = _log_of_parts(builder, target, n, m)
    return _specials(builder, x, finite)


def split(builder: ir.IRBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """``n`` and ``m`` of a positive normal number ``2^n·m``, m in [√½, √2); f32 or f64."""
    form = _FORMATS[element_of(x.type)]
    shape = with_element(x.type, form.integer)
    shift = constant(shape, form.mantissa)
    bits = builder.bitcast(x, shape)
    above_root = builder.sub(bits, constant(shape, form.root - (form.bias << form.mantissa)))
    biased = builder.lshr(above_root, shift)
    exponent = builder.shl(builder.sub(biased, constant(shape, form.bias)), shift)
    m = builder.bitcast(builder.sub(bits, exponent), x.type)
    # Below the exponent of 2^mantissa an integer is a number: no conversion instruction needed.
    number = builder.or_(biased, constant(shape, (form.bias + form.mantissa) << form.mantissa))
    offset = constant(x.type, float(2**form.mantissa + form.bias))
    return builder.fsub(builder.bitcast(number, x.type), offset), m


def _log_of_parts(
    builder: ir.IRBuilder, target: TargetMachine, n: ir.Value, m: ir.Value
) -> ir.Value:
    """``n·ln(2) + log(m)``, smallest terms first."""
    high, low = (constant(n.type, part) for part in LN2_PARTS)
    f = builder.fsub(m, constant(m.type, 1.0))
    p = polynomial(builder, target, f, (-0.5, *LOG))
    rest = fma(builder, target, builder.fmul(f, f), p, builder.fmul(n, low))
    return fma(builder, target, n, high, builder.fadd(f, rest))


def _specials(builder: ir.IRBuilder, x: ir.Value, result: ir.Value) -> ir.Value:
    """The result, but inf at inf, -inf at 0, NaN below 0 and at NaN."""
    zero, infinity = constant(x.type, 0.0), constant(x.type, inf)
    result = builder.select(builder.fcmp_ordered("<", x, infinity), result, x)
    at_zero = builder.fcmp_ordered("==", x, zero)
    other = builder.select(at_zero, constant(x.type, -inf), constant(x.type, nan))
    return builder.select(builder.fcmp_ordered(">", x, zero), result, other)
