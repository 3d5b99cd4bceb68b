"""Exponentials: ``exp``, ``exp2``, ``sigmoid``, ``expm1``.

``exp(x) = 2^n · e^r`` with ``n = round(x·log2(e))`` and ``r = x - n·ln(2)`` within ±ln(2)/2; a
polynomial of degree 5 with constant term 1 (so that ``exp(0) = 1``) gives ``e^r`` to 9e-8, its best
(found by Lawson's iteration on Chebyshev points). Adding 1.5·2^23 rounds: the integer then stands
in the low bits. Error: 2.6 ulp for ``|x| < 20``, growing to 5.3 ulp at the ends; ``exp2``: 3 ulp.

With AVX-512 a full vector takes 10 instructions. ``vscalefps`` is made for this: it gives 0, inf
and NaN where ``n`` is -inf, inf and NaN, whatever it scales but inf, and right denormals. For huge
``|x|`` (``finfo.min`` as a mask) ``r`` may be anything, so ``vrangeps`` brings it to ±1 first.
``exp2`` takes 7: ``vreduceps`` gives ``x - floor(x)``, and ``vscalefps`` floors by itself.

What is rounded to bf16 has polynomials of degree 3 (``precision``): error 1e-4, a twentieth of the
rounding that follows.

Elsewhere ``x`` is clamped to where the result is 0 or inf, and ``2^(n-1)`` is made by shifting the
rounded number's bits into the exponent; the polynomial has twice its coefficients, so that results
above 2^127 do not overflow early. Results below 2^-125.5 become 0.

``expm1(x) = e^x - 1`` keeps the digits that the difference would lose near 0: it is
``2^n·(e^r - 1) + (2^n - 1)`` with ``e^r - 1 = r·P(r)``, a fit of relative error 1.1e-8.
Error: as that of ``exp``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import e, log, log2

from llvmlite import ir

from snipjit.passes.llvm.arithmetic import at_least, at_most, fma, polynomial
from snipjit.passes.llvm.instructions import Text, instruction
from snipjit.passes.llvm.vector_ir import I32, constant, intrinsic, with_element
from snipjit.target.target_machine import TargetMachine

LOG2_E = log2(e)
LN2 = log(2.0)
# Two parts for CPUs without fma: n times the first one is exact.
LN2_PARTS = (0.693359375, LN2 - 0.693359375)
ROUNDING = 1.5 * 2.0**23

# By precision: e^r for |r| <= ln(2)/2; 2^r for |r| <= 1/2; 2^r for 0 <= r < 1.
EXP = {
    "f32": (1.0, 0.9999997070129476, 0.4999914918941279, 0.16667636583243256, 0.0418979758399265,
            0.00829030627471201),
    "bf16": (1.0, 1.0001958412957668, 0.504130383225427, 0.16517975896366416),
}  # fmt: skip
EXP2 = {
    "f32": (1.0, 0.693146977355398, 0.24022241759093726, 0.05550734001284974,
            0.009671534015695257, 0.001326470005987665),
    "bf16": (1.0, 0.6932829274019433, 0.24221096202839432, 0.05500893174448951),
}  # fmt: skip
EXP2_FLOOR = {
    "f32": (1.0, 0.6931513118158812, 0.24016445001732922, 0.05579991360698483,
            0.009017029618000508, 0.001867130402655487),
    "bf16": (1.0, 0.695116785376953, 0.2276449957687347, 0.07706703873385555),
}  # fmt: skip
# (e^r - 1) / r for |r| <= ln(2)/2.
EXPM1 = (1.0, 0.49999998119176337, 0.16666505898981002, 0.041667137145495116, 0.008369104294484769,
         0.0013888872955315017)  # fmt: skip


def emit_exp(
    builder: ir.IRBuilder, target: TargetMachine, x: ir.Value, precision: str = "f32"
) -> ir.Value:
    """``e^x``."""
    return _exp(builder, target, x, 1.0, EXP[precision])


def emit_sigmoid(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """``1 / (1 + e^-x)``; the sign is folded into the constants of the exponential."""
    one = constant(x.type, 1.0)
    return builder.fdiv(one, builder.fadd(one, _exp(builder, target, x, -1.0, EXP["f32"])))


def emit_expm1(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """``e^x - 1``, of the sign of x; -1 from -18 down, infinite where ``e^x`` is."""
    x = at_most(builder, at_least(builder, x, -18.0), 88.8)
    shifted = _round(builder, target, x, LOG2_E, ROUNDING + 126)
    n = builder.fsub(shifted, constant(x.type, ROUNDING + 126))
    r = _remainder(builder, target, x, n, 1.0)
    less = builder.fmul(r, polynomial(builder, target, r, EXPM1))
    power = _power_of_two(builder, shifted)
    rest = builder.fsub(power, constant(x.type, 0.5))
    half = fma(builder, target, less, power, rest)
    return intrinsic(builder, "llvm.copysign", builder.fadd(half, half), x)


def emit_exp2(
    builder: ir.IRBuilder, target: TargetMachine, x: ir.Value, precision: str = "f32"
) -> ir.Value:
    """``2^x``."""
    if (scale := instruction(target, "scale", x.type)) is not None:
        fraction = _known(target, "fraction", x)(builder, x)
        power = polynomial(builder, target, fraction, EXP2_FLOOR[precision])
        return scale(builder, power, x)
    x = at_most(builder, at_least(builder, x, -126.4), 129.0)
    shifted = builder.fadd(x, constant(x.type, ROUNDING + 126))
    n = builder.fsub(shifted, constant(x.type, ROUNDING + 126))
    power = polynomial(builder, target, builder.fsub(x, n), [2 * c for c in EXP2[precision]])
    return builder.fmul(power, _power_of_two(builder, shifted))


def _exp(
    builder: ir.IRBuilder,
    target: TargetMachine,
    x: ir.Value,
    sign: float,
    power_of_e: Sequence[float],
) -> ir.Value:
    """``e^(sign·x)`` for a sign of ±1 and the polynomial of ``e^r``."""
    if (scale := instruction(target, "scale", x.type)) is not None:
        shifted = _round(builder, target, x, sign * LOG2_E, ROUNDING)
        n = builder.fsub(shifted, constant(x.type, ROUNDING))
        r = _remainder(builder, target, x, n, sign)
        r = _known(target, "bounded", x)(builder, r, constant(x.type, 1.0))
        coefficients = [c * sign**power for power, c in enumerate(power_of_e)]
        return scale(builder, polynomial(builder, target, r, coefficients), n)
    low, high = sorted((sign * -87.6, sign * 89.2))
    x = at_most(builder, at_least(builder, x, low), high)
    shifted = _round(builder, target, x, sign * LOG2_E, ROUNDING + 126)
    n = builder.fsub(shifted, constant(x.type, ROUNDING + 126))
    r = _remainder(builder, target, x, n, sign)
    coefficients = [2 * c * sign**power for power, c in enumerate(power_of_e)]
    power = polynomial(builder, target, r, coefficients)
    return builder.fmul(power, _power_of_two(builder, shifted))


def _round(
    builder: ir.IRBuilder, target: TargetMachine, x: ir.Value, factor: float, magic: float
) -> ir.Value:
    """``round(x·factor) + magic``: the integer stands in the low bits of the number."""
    return fma(builder, target, x, constant(x.type, factor), constant(x.type, magic))


def _remainder(
    builder: ir.IRBuilder, target: TargetMachine, x: ir.Value, n: ir.Value, sign: float
) -> ir.Value:
    """``x - sign·n·ln(2)``; one rounding with fma leaves 2e-9·n, without it takes two parts."""
    has_fma = instruction(target, "fma", x.type) is not None
    for part in (LN2,) if has_fma else LN2_PARTS:
        x = fma(builder, target, n, constant(x.type, -sign * part), x)
    return x


def _power_of_two(builder: ir.IRBuilder, shifted: ir.Value) -> ir.Value:
    """``2^(n-1)`` of ``n + 126 + magic``: its low 8 bits become the exponent."""
    integer = with_element(shifted.type, I32)
    bits = builder.shl(builder.bitcast(shifted, integer), constant(integer, 23))
    return builder.bitcast(bits, shifted.type)


def _known(target: TargetMachine, name: str, x: ir.Value) -> Text:
    """An instruction that comes with ``scale``."""
    text = instruction(target, name, x.type)
    assert text is not None, name
    return text
