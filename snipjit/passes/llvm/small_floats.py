"""Floats of 16 and 8 bits and float32, one made of the other by operations that every CPU has."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from snipjit.passes.llvm.vector_ir import F32, I16, I32, constant, with_element

_SIGN, _INFINITY = 0x80000000, 0x7F800000

E4M3FN_IN_F16 = float(2**8)
"""What e4m3fn's bits, taken for those of a float16, are too small by: 2^(15 - 7)."""


@dataclass(frozen=True)
class Format:
    """How a float lies in memory.

    bits     of it
    digits   of the mantissa
    bias     of the exponent
    large    the bits of a float32 from which on all numbers become one
    beyond   what stands for those
    nan      what stands for none at all
    special  the least code that is no finite number
    """

    bits: int
    digits: int
    bias: int
    large: int
    beyond: int
    nan: int
    special: int

    @property
    def rebias(self) -> int:
        """What a float32's exponent has more."""
        return 127 - self.bias

    @property
    def unit(self) -> float:
        """The least number above 0."""
        return float(2.0 ** (1 - self.bias - self.digits))

    @property
    def magic(self) -> int:
        """The bits of the number that added to others rounds away what subnormal ones lack."""
        return (self.rebias + 1 + 23 - self.digits) << 23


FLOAT16 = Format(16, 10, 15, (127 + 16) << 23, 0x7C00, 0x7E00, 0x7C00)
E5M2 = Format(8, 2, 15, (127 + 16) << 23, 0x7C, 0x7F, 0x7C)
E4M3FN = Format(8, 3, 7, (127 + 8) << 23 | 0x600000, 0x7E, 0x7F, 0x7F)
"""Without infinities: what is too large becomes 448, as in today's torch."""


def e4m3fn_as_f16(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    """The bits of a float16 that is ``E4M3FN_IN_F16`` times too small, or NaN."""
    wide = builder.sext(bits, with_element(bits.type, I16))
    type = wide.type
    half = builder.and_(builder.shl(wide, constant(type, 7)), constant(type, 0xBF80))
    lowest = builder.and_(wide, constant(type, 0x7F))
    is_nan = builder.icmp_unsigned("==", lowest, constant(type, 0x7F))
    return builder.or_(half, builder.sext(is_nan, type))


def widen(builder: ir.IRBuilder, format: Format, bits: ir.Value) -> ir.Value:
    """An addition sets the exponent; subnormal numbers are whole ones of the least unit.

    No float here is subnormal in 32 bits, whatever the CPU is told to make of such.
    """
    wide = builder.zext(bits, with_element(bits.type, I32))
    type, floats, top = wide.type, with_element(wide.type, F32), 1 << (format.bits - 1)
    code = builder.and_(wide, constant(type, top - 1))
    moved = builder.shl(code, constant(type, 23 - format.digits))
    normal = builder.add(moved, constant(type, format.rebias << 23))
    small = builder.fmul(builder.sitofp(code, floats), constant(floats, format.unit))
    is_small = builder.icmp_unsigned("<", code, constant(type, 1 << format.digits))
    number = builder.select(is_small, builder.bitcast(small, type), normal)
    is_special = builder.icmp_unsigned(">=", code, constant(type, format.special))
    special = builder.or_(moved, constant(type, _INFINITY))
    number = builder.select(is_special, special, number)
    sign = builder.and_(wide, constant(type, top))
    moved_sign = builder.shl(sign, constant(type, 32 - format.bits))
    return builder.bitcast(builder.or_(number, moved_sign), floats)


def narrow(builder: ir.IRBuilder, format: Format, value: ir.Value) -> ir.Value:
    """Numbers that are normal there, subnormal, too large, or none: each by its own way."""
    bits = builder.bitcast(value, with_element(value.type, I32))
    type, cut = bits.type, constant(bits.type, 23 - format.digits)
    sign = builder.and_(bits, constant(type, _SIGN))
    magnitude = builder.xor(bits, sign)
    odd = builder.and_(builder.lshr(magnitude, cut), constant(type, 1))
    less_than_half = (1 << (22 - format.digits)) - 1
    rebias = constant(type, less_than_half - (format.rebias << 23))
    normal = builder.lshr(builder.add(builder.add(magnitude, rebias), odd), cut)
    result = builder.select(
        builder.icmp_unsigned("<", magnitude, constant(type, (format.rebias + 1) << 23)),
        _subnormal(builder, format, magnitude),
        normal,
    )
    large = builder.icmp_unsigned(">=", magnitude, constant(type, format.large))
    result = builder.select(large, constant(type, format.beyond), result)
    is_nan = builder.fcmp_unordered("uno", value, value)
    result = builder.select(is_nan, constant(type, format.nan), result)
    signed = builder.or_(result, builder.lshr(sign, constant(type, 32 - format.bits)))
    return builder.trunc(signed, with_element(type, ir.IntType(format.bits)))


def _subnormal(builder: ir.IRBuilder, format: Format, magnitude: ir.Value) -> ir.Value:
    floats, magic = with_element(magnitude.type, F32), constant(magnitude.type, format.magic)
    shifted = builder.fadd(builder.bitcast(magnitude, floats), builder.bitcast(magic, floats))
    return builder.sub(builder.bitcast(shifted, magnitude.type), magic)
