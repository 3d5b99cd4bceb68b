"""Between registers and memory, where that holds other types: the ``CONVERSIONS`` table.

Booleans are bytes in memory, narrow types are ``f32`` in registers. Memory's side is an integer (or
a vector of them) of the type's size. Widening is exact. Narrowing to floats rounds to the nearest,
ties to even; a NaN stays a NaN, what is too large becomes infinite, or the largest number of a type
that has no infinities. Some CPUs have instructions for ``f16``; elsewhere integer operations do the
same (``small_floats.py``), since LLVM would call a library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from snipjit.ir.element_types import ElementType
from snipjit.passes.llvm.instructions import instruction
from snipjit.passes.llvm.small_floats import (
    E4M3FN,
    E4M3FN_IN_F16,
    E5M2,
    FLOAT16,
    Format,
    e4m3fn_as_f16,
    narrow,
    widen,
)
from snipjit.passes.llvm.vector_ir import (
    F32,
    I1,
    I8,
    I16,
    I32,
    I64,
    call_intrinsic,
    constant,
    type_suffix,
    with_element,
)
from snipjit.target.target_machine import TargetMachine

Convert = Callable[[ir.IRBuilder, TargetMachine, ir.Value], ir.Value]


@dataclass(frozen=True)
class Conversion:
    """How the bits in memory and the value in a register follow from one another.

    widen        the value for some bits
    narrow       the bits of the nearest value
    splat_first  widening takes more instructions for one element than for a vector of copies
    """

    widen: Convert
    narrow: Convert
    splat_first: bool = False


def in_memory(element: ElementType) -> ir.Type:
    """The LLVM type of an element in memory."""
    return in_register(element) if element.name == "f32" else ir.IntType(element.bits)


def in_register(element: ElementType) -> ir.Type:
    """The LLVM type of a value in a register."""
    return {"f32": F32, "i1": I1, "i32": I32, "i64": I64}[element.register]


def from_memory(
    builder: ir.IRBuilder, target: TargetMachine, dtype: str, value: ir.Value
) -> ir.Value:
    """What a register holds for a value in memory."""
    conversion = CONVERSIONS.get(dtype)
    return conversion.widen(builder, target, value) if conversion is not None else value


def to_memory(
    builder: ir.IRBuilder, target: TargetMachine, dtype: str, value: ir.Value
) -> ir.Value:
    """What memory holds for a value in a register."""
    conversion = CONVERSIONS.get(dtype)
    return conversion.narrow(builder, target, value) if conversion is not None else value


def splat_first(dtype: str) -> bool:
    """Whether one element for all lanes is widened in all of them."""
    return dtype in CONVERSIONS and CONVERSIONS[dtype].splat_first


def to_integer(builder: ir.IRBuilder, number: ir.Value, element: ir.IntType, name: str) -> ir.Value:
    """What stands before the point; the nearest end where that is too large, 0 for NaN."""
    shape = with_element(number.type, element)
    name = f"llvm.{name}.sat.{type_suffix(shape)}.{type_suffix(number.type)}"
    return call_intrinsic(builder, name, shape, [number])


def _integers(bits: int, signed: bool) -> Conversion:
    def widen(builder: ir.IRBuilder, _: TargetMachine, bits: ir.Value) -> ir.Value:
        wide = (builder.sext if signed else builder.zext)(bits, with_element(bits.type, I32))
        return builder.sitofp(wide, with_element(bits.type, F32))

    def narrow(builder: ir.IRBuilder, _: TargetMachine, value: ir.Value) -> ir.Value:
        return to_integer(builder, value, ir.IntType(bits), "fptosi" if signed else "fptoui")

    return Conversion(widen, narrow)


def _widen_i1(builder: ir.IRBuilder, _: TargetMachine, bits: ir.Value) -> ir.Value:
    return builder.icmp_unsigned("!=", bits, constant(bits.type, 0))


def _narrow_i1(builder: ir.IRBuilder, _: TargetMachine, value: ir.Value) -> ir.Value:
    return builder.zext(value, with_element(value.type, I8))


def _widen_bf16(builder: ir.IRBuilder, _: TargetMachine, bits: ir.Value) -> ir.Value:
    wide = builder.zext(bits, with_element(bits.type, I32))
    upper = builder.shl(wide, constant(wide.type, 16))
    return builder.bitcast(upper, with_element(bits.type, F32))


def _narrow_bf16(builder: ir.IRBuilder, _: TargetMachine, value: ir.Value) -> ir.Value:
    """The upper half, one more where the lower half is above a tie or the upper one is odd."""
    bits = builder.bitcast(value, with_element(value.type, I32))
    type = bits.type
    odd = builder.and_(builder.lshr(bits, constant(type, 16)), constant(type, 1))
    rounded = builder.add(bits, builder.add(odd, constant(type, 0x7FFF)))
    quiet = builder.or_(bits, constant(type, 0x00400000))
    kept = builder.select(builder.fcmp_unordered("uno", value, value), quiet, rounded)
    upper = builder.lshr(kept, constant(type, 16))
    return builder.trunc(upper, with_element(type, I16))


def _widen_f16(builder: ir.IRBuilder, target: TargetMachine, bits: ir.Value) -> ir.Value:
    text = instruction(target, "widen f16", bits.type)
    return text(builder, bits) if text is not None else widen(builder, FLOAT16, bits)


def _narrow_f16(builder: ir.IRBuilder, target: TargetMachine, value: ir.Value) -> ir.Value:
    text = instruction(target, "narrow f16", value.type)
    return text(builder, value) if text is not None else narrow(builder, FLOAT16, value)


def _widen_e5m2(builder: ir.IRBuilder, target: TargetMachine, bits: ir.Value) -> ir.Value:
    """The upper half of a float16."""
    if (text := instruction(target, "widen f16", bits.type)) is None:
        return widen(builder, E5M2, bits)
    half = builder.zext(bits, with_element(bits.type, I16))
    return text(builder, builder.shl(half, constant(half.type, 8)))


def _widen_e4m3fn(builder: ir.IRBuilder, target: TargetMachine, bits: ir.Value) -> ir.Value:
    """By way of float16, whose instruction takes subnormal numbers for what they are."""
    if (text := instruction(target, "widen f16", bits.type)) is None:
        return widen(builder, E4M3FN, bits)
    number = text(builder, e4m3fn_as_f16(builder, bits))
    return builder.fmul(number, constant(number.type, E4M3FN_IN_F16))


def _to_float8(format: Format) -> Convert:
    return lambda builder, _, value: narrow(builder, format, value)


CONVERSIONS: dict[str, Conversion] = {
    "i1": Conversion(_widen_i1, _narrow_i1),
    "bf16": Conversion(_widen_bf16, _narrow_bf16),
    "f16": Conversion(_widen_f16, _narrow_f16, splat_first=True),
    "f8e4m3fn": Conversion(_widen_e4m3fn, _to_float8(E4M3FN), splat_first=True),
    "f8e5m2": Conversion(_widen_e5m2, _to_float8(E5M2), splat_first=True),
    "i8": _integers(8, signed=True),
    "u8": _integers(8, signed=False),
}
"""By element type; memory holds all others as registers do."""
