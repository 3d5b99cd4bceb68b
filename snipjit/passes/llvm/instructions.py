"""What some CPUs do in one instruction: a row each.

A row says what a target must have for it, what it means, and its text in LLVM IR. An emitter that
can use one asks ``instruction(target, name, shape)`` and writes something longer where there is
none; no emitter asks for a feature. Names of x86 stand here alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from llvmlite import ir

from snipjit.ir.element_types import PAIRED, Array, round_to
from snipjit.passes.llvm.vector_ir import (
    BF16,
    F16,
    F32,
    I8,
    I16,
    I32,
    call_intrinsic,
    constant,
    intrinsic,
    with_element,
)
from snipjit.target.target_machine import TargetMachine

Text = Callable[..., ir.Value]
"""``(builder, *operands) -> value``."""


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    name     what it does
    needs    the LLVM features that a target must have
    meaning  NumPy: its result for the elements of its operands
    text     what makes LLVM choose it
    lanes    elements of the only vectors that it takes; 0 for any shape
    """

    name: str
    needs: tuple[str, ...]
    meaning: Callable[..., Array]
    text: Text
    lanes: int = 0


def _overloaded(name: str) -> Text:
    """An intrinsic of one type of operands and result."""

    def text(builder: ir.IRBuilder, *operands: ir.Value) -> ir.Value:
        return intrinsic(builder, name, *operands)

    return text


def _avx512(name: str, *flags: int) -> Text:
    """An instruction on 16 floats, unmasked, rounding as MXCSR says."""

    def text(builder: ir.IRBuilder, *operands: ir.Value) -> ir.Value:
        type = ir.VectorType(F32, 16)
        given = (*operands, *(constant(I32, flag) for flag in flags))
        unmasked = (constant(type, 0.0), constant(I16, -1), constant(I32, 4))
        return call_intrinsic(
            builder, f"llvm.x86.avx512.mask.{name}.ps.512", type, [*given, *unmasked]
        )

    return text


def _dot_pairs(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    type = ir.VectorType(BF16, 2 * c.type.count)
    operands = [c, builder.bitcast(a, type), builder.bitcast(b, type)]
    name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * c.type.count}"
    return call_intrinsic(builder, name, c.type, operands)


def _round_two(builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
    type = ir.VectorType(BF16, 2 * first.type.count)
    name = f"llvm.x86.avx512bf16.cvtne2ps2bf16.{32 * first.type.count}"
    return call_intrinsic(builder, name, type, [second, first])


def _widen_half(builder: ir.IRBuilder, bits: ir.Value) -> ir.Value:
    half = builder.bitcast(bits, with_element(bits.type, F16))
    return builder.fpext(half, with_element(bits.type, F32))


def _narrow_half(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    half = builder.fptrunc(value, with_element(value.type, F16))
    return builder.bitcast(half, with_element(value.type, I16))


def _tile(name: str) -> Text:
    """An instruction of x86's AMX on tile registers by number, and addresses."""

    def text(builder: ir.IRBuilder, *operands: ir.Value | int) -> ir.Value:
        values = [ir.Constant(I8, x) if isinstance(x, int) else x for x in operands]
        return call_intrinsic(builder, f"llvm.x86.{name}", ir.VoidType(), values)

    return text


# The meanings that NumPy has no name for.


def _fma(a: Array, b: Array, c: Array) -> Array:
    """Float64 holds the product, and rounds the sum once more: seldom, and in the last place."""
    return np.asarray(a.astype(np.float64) * b + c, dtype=np.float32)


def _scale(x: Array, n: Array) -> Array:
    """``x · 2^floor(n)``, also where only the result is a number that float32 holds."""
    return np.where(np.isnan(n), n, np.asarray(x * np.exp2(np.floor(n.astype(np.float64)))))


def _fraction(x: Array) -> Array:
    return np.where(np.isinf(x), 0.0, x - np.floor(x))


def _bounded(x: Array, bound: Array) -> Array:
    """``x`` brought to ``±bound``; NaN gives the bound."""
    return np.asarray(np.copysign(np.fmin(np.abs(x), np.abs(bound)), x))


def _pair_products(a: Array, b: Array, c: Array) -> Array:
    """Of pairs along the last axis."""
    return np.asarray((a.astype(np.float64) * b).sum(-1) + c)


def _rounded(first: Array, second: Array) -> Array:
    return round_to(PAIRED, np.concatenate([first, second]))


def _half(x: Array) -> Array:
    return round_to("f16", x)


def _tile_products(a: Array, b: Array, c: Array) -> Array:
    """``c[m][n] + Σ a[m][k] · b[n][k]``."""
    return np.asarray(c + a.astype(np.float64) @ b.T)


_AVX512 = ("avx512f", "avx512dq")
_AMX = ("amx-tile", "amx-bf16")

_ROWS = (
    Instruction("fma", ("fma",), _fma, _overloaded("llvm.fma")),
    Instruction("round", ("avx2",), np.round, _overloaded("llvm.roundeven")),
    Instruction("floor", ("avx2",), np.floor, _overloaded("llvm.floor")),
    Instruction("ceil", ("avx2",), np.ceil, _overloaded("llvm.ceil")),
    Instruction("widen f16", ("f16c",), _half, _widen_half),
    Instruction("narrow f16", ("f16c",), _half, _narrow_half),
    Instruction("scale", _AVX512, _scale, _avx512("scalef"), lanes=16),
    # Flags: round down, no exceptions; the smaller magnitude, the sign of the first.
    Instruction("fraction", _AVX512, _fraction, _avx512("reduce", 9), lanes=16),
    Instruction("bounded", _AVX512, _bounded, _avx512("range", 2), lanes=16),
    Instruction("dot pairs", ("avx512bf16",), _pair_products, _dot_pairs, lanes=16),
    Instruction("round two", ("avx512bf16",), _rounded, _round_two, lanes=16),
    Instruction("tile zero", _AMX, np.zeros_like, _tile("tilezero")),
    Instruction("tile load", _AMX, np.asarray, _tile("tileloadd64")),
    Instruction("tile dot", _AMX, _tile_products, _tile("tdpbf16ps")),
    Instruction("tile store", _AMX, np.asarray, _tile("tilestored64")),
)

INSTRUCTIONS: dict[str, Instruction] = {row.name: row for row in _ROWS}


def instruction(target: TargetMachine, name: str, shape: ir.Type) -> Text | None:
    """The text of an instruction for operands of a shape, if the target has it."""
    row = INSTRUCTIONS[name]
    fits = row.lanes in (0, shape.count if isinstance(shape, ir.VectorType) else 1)
    return row.text if fits and set(row.needs).issubset(target.features) else None
