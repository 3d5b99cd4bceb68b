"""Powers: a few multiplications for the usual constant exponents, else ``2^(y·log2|x|)`` in f64.

In f64 the product may be as large as 128 without its rounding being seen in an f32 result, on any
CPU; a denormal is an ordinary number, and the conversion back overflows and underflows by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, inf, log, nan

from llvmlite import ir

from snipjit.passes.llvm.arithmetic import at_least, at_most, fma, polynomial
from snipjit.passes.llvm.emit_log import split
from snipjit.passes.llvm.emit_round import emit_floor
from snipjit.passes.llvm.vector_ir import F64, I64, constant, intrinsic, number_of, with_element
from snipjit.target.target_machine import TargetMachine

Short = Callable[[ir.IRBuilder, ir.Value], ir.Value]

ROUNDING = 1.5 * 2.0**52
# log2(m) = s·L(s²) with s = (m-1)/(m+1), |s| < 0.172: a Taylor series, 5e-11.
LOG2 = tuple(2.0 / log(2.0) / (2 * i + 1) for i in range(6))
# 2^r for |r| <= 1/2: a Taylor series, 5e-9.
EXP2 = tuple(log(2.0) ** i / factorial(i) for i in range(8))


def emit_pow(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value, y: ir.Value) -> ir.Value:
    """``x^y`` as C's powf has it: ``x^0`` is 1, negative ``x`` needs an integer ``y``, else NaN."""
    short = SHORT.get(number_of(y))
    if short is not None:
        return short(builder, x)
    magnitude = _magnitude(builder, target, intrinsic(builder, "llvm.fabs", x), y)
    return _with_sign(builder, target, x, y, magnitude)


def _one(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return constant(x.type, 1.0)


def _itself(_: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return x


def _square(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return builder.fmul(x, x)


def _cube(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return builder.fmul(_square(builder, x), x)


def _sqrt(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return intrinsic(builder, "llvm.sqrt", x)


def _reciprocal(power: Short) -> Short:
    def emit(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
        return builder.fdiv(constant(x.type, 1.0), power(builder, x))

    return emit


SHORT: dict[float | None, Short] = {
    0.0: _one,
    1.0: _itself,
    2.0: _square,
    3.0: _cube,
    0.5: _sqrt,
    -0.5: _reciprocal(_sqrt),
    -1.0: _reciprocal(_itself),
    -2.0: _reciprocal(_square),
}


def _magnitude(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value, y: ir.Value) -> ir.Value:
    """``x^y`` for x not negative; 1 where y is 0 or x is 1, whatever the other."""
    double = with_element(x.type, F64)
    zero = constant(double, 0.0)
    exponent = builder.fpext(y, double)
    logarithm = _log2(builder, target, builder.fpext(x, double))
    product = builder.fmul(exponent, logarithm)
    vanishes = builder.or_(
        builder.fcmp_ordered("==", exponent, zero), builder.fcmp_ordered("==", logarithm, zero)
    )
    power = _exp2(builder, target, builder.select(vanishes, zero, product))
    return builder.fptrunc(power, x.type)


def _log2(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """``log2(x)`` of an f64 that is 0, inf, NaN or a positive normal number."""
    one = constant(x.type, 1.0)
    n, m = split(builder, x)
    s = builder.fdiv(builder.fsub(m, one), builder.fadd(m, one))
    series = polynomial(builder, target, builder.fmul(s, s), LOG2)
    finite = fma(builder, target, s, series, n)
    result = builder.select(builder.fcmp_ordered("<", x, constant(x.type, inf)), finite, x)
    at_zero = builder.fcmp_ordered("==", x, constant(x.type, 0.0))
    return builder.select(at_zero, constant(x.type, -inf), result)


def _exp2(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """``2^x`` of an f64, held to 2^±1000."""
    integer = with_element(x.type, I64)
    magic = constant(x.type, ROUNDING + 1023)
    x = at_most(builder, at_least(builder, x, -1000.0), 1000.0)
    shifted = builder.fadd(x, magic)
    fraction = builder.fsub(x, builder.fsub(shifted, magic))
    bits = builder.shl(builder.bitcast(shifted, integer), constant(integer, 52))
    power = polynomial(builder, target, fraction, EXP2)
    return builder.fmul(power, builder.bitcast(bits, x.type))


def _with_sign(
    builder: ir.IRBuilder, target: TargetMachine, x: ir.Value, y: ir.Value, magnitude: ir.Value
) -> ir.Value:
    """The sign of x for odd y; NaN for finite negative x and y that is not an integer."""
    half = builder.fmul(y, constant(y.type, 0.5))
    integer = builder.fcmp_ordered("==", emit_floor(builder, target, y), y)
    even = builder.fcmp_ordered("==", emit_floor(builder, target, half), half)
    odd = builder.and_(integer, builder.not_(even))
    signed = builder.select(odd, intrinsic(builder, "llvm.copysign", magnitude, x), magnitude)
    negative = builder.and_(
        builder.fcmp_ordered("<", x, constant(x.type, 0.0)),
        builder.fcmp_ordered(">", x, constant(x.type, -inf)),
    )
    undefined = builder.and_(negative, builder.not_(integer))
    return builder.select(undefined, constant(x.type, nan), signed)
