"""Between registers and memory, where that holds other types.

Booleans are bytes in memory, ``bf16`` and ``f16`` are ``f32`` in registers. Memory's side is an
integer (or a vector of them). Widening is exact. Narrowing rounds to the
nearest, ties to even; a NaN stays a NaN, what is too large becomes infinite. ``f16`` has
instructions where the row has F16C; elsewhere integer operations do the same, since LLVM would
call a library.
"""

from __future__ import annotations

from llvmlite import ir

from snipjit.element_types import NARROW
from snipjit.passes.llvm.vector_ir import F32, I8, I16, I32, constant, with_element
from snipjit.target_machine import TargetMachine

HALF = ir.HalfType()

_SIGN, _INFINITY = 0x80000000, 0x7F800000
_LARGE = (127 + 16) << 23
"""The bits of 2^16, which f16 does not hold."""
_NORMAL = (127 - 14) << 23
"""The bits of 2^-14, the least normal number of f16."""
_MAGIC = (127 - 15 + 23 - 10 + 1) << 23
"""Adding this number rounds away all bits that a subnormal number of f16 lacks."""
_REBIAS = float(2**112)
"""What f16's bits, taken for those of a float32, are too small by: 2^(127 - 15)."""


def from_memory(
    builder: ir.IRBuilder, target: TargetMachine, dtype: str, value: ir.Value
) -> ir.Value:
    """What a register holds for a value in memory."""
    if dtype == "i1":
        return builder.icmp_unsigned("!=", value, constant(value.type, 0))
    return widen(builder, target, dtype, value) if dtype in NARROW else value


def to_memory(
    builder: ir.IRBuilder, target: TargetMachine, dtype: str, value: ir.Value
) -> ir.Value:
    """What memory holds for a value in a register."""
    if dtype == "i1":
        return builder.zext(value, with_element(value.type, I8))
    return narrow(builder, target, dtype, value) if dtype in NARROW else value


def widen(builder: ir.IRBuilder, target: TargetMachine, dtype: str, bits: ir.Value) -> ir.Value:
    """The ``f32`` that 16 bits of memory stand for."""
    if dtype == "f16" and "f16c" in target.features:
        half = builder.bitcast(bits, with_element(bits.type, HALF))
        return builder.fpext(half, with_element(bits.type, F32))
    wide = builder.zext(bits, with_element(bits.type, I32))
    if dtype == "bf16":
        upper = builder.shl(wide, constant(wide.type, 16))
        return builder.bitcast(upper, with_element(bits.type, F32))
    return _widen_half(builder, wide)


def narrow(builder: ir.IRBuilder, target: TargetMachine, dtype: str, value: ir.Value) -> ir.Value:
    """The 16 bits nearest to an ``f32``."""
    shape = with_element(value.type, I16)
    if dtype == "f16" and "f16c" in target.features:
        return builder.bitcast(builder.fptrunc(value, with_element(value.type, HALF)), shape)
    bits = builder.bitcast(value, with_element(value.type, I32))
    rounded = (_narrow_bf16 if dtype == "bf16" else _narrow_half)(builder, value, bits)
    return builder.trunc(rounded, shape)


def _narrow_bf16(builder: ir.IRBuilder, value: ir.Value, bits: ir.Value) -> ir.Value:
    """The upper half, one more where the lower half is above a tie or the upper one is odd."""
    type = bits.type
    odd = builder.and_(builder.lshr(bits, constant(type, 16)), constant(type, 1))
    rounded = builder.add(bits, builder.add(odd, constant(type, 0x7FFF)))
    quiet = builder.or_(bits, constant(type, 0x00400000))
    kept = builder.select(builder.fcmp_unordered("uno", value, value), quiet, rounded)
    return builder.lshr(kept, constant(type, 16))


def _widen_half(builder: ir.IRBuilder, half: ir.Value) -> ir.Value:
    """A product sets the exponent right, of subnormal numbers too; all ones stay all ones."""
    type, floats = half.type, with_element(half.type, F32)
    magnitude = builder.shl(builder.and_(half, constant(type, 0x7FFF)), constant(type, 13))
    sign = builder.shl(builder.and_(half, constant(type, 0x8000)), constant(type, 16))
    number = builder.fmul(builder.bitcast(magnitude, floats), constant(floats, _REBIAS))
    finite = builder.bitcast(number, type)
    special = builder.or_(magnitude, constant(type, _INFINITY))
    is_special = builder.icmp_unsigned(">=", magnitude, constant(type, 0x7C00 << 13))
    result = builder.or_(builder.select(is_special, special, finite), sign)
    return builder.bitcast(result, floats)


def _narrow_half(builder: ir.IRBuilder, value: ir.Value, bits: ir.Value) -> ir.Value:
    """Numbers that are normal in f16, subnormal there, too large, or none: each by its own way."""
    type = bits.type
    sign = builder.and_(bits, constant(type, _SIGN))
    magnitude = builder.xor(bits, sign)
    odd = builder.and_(builder.lshr(magnitude, constant(type, 13)), constant(type, 1))
    rebias = constant(type, 0xFFF - (112 << 23))
    normal = builder.lshr(builder.add(builder.add(magnitude, rebias), odd), constant(type, 13))
    result = builder.select(
        builder.icmp_unsigned("<", magnitude, constant(type, _NORMAL)),
        _subnormal_half(builder, magnitude),
        normal,
    )
    large = builder.icmp_unsigned(">=", magnitude, constant(type, _LARGE))
    result = builder.select(large, constant(type, 0x7C00), result)
    is_nan = builder.fcmp_unordered("uno", value, value)
    result = builder.select(is_nan, constant(type, 0x7E00), result)
    return builder.or_(result, builder.lshr(sign, constant(type, 16)))


def _subnormal_half(builder: ir.IRBuilder, magnitude: ir.Value) -> ir.Value:
    floats = with_element(magnitude.type, F32)
    magic = constant(magnitude.type, _MAGIC)
    shifted = builder.fadd(builder.bitcast(magnitude, floats), builder.bitcast(magic, floats))
    return builder.sub(builder.bitcast(shifted, magnitude.type), magic)
