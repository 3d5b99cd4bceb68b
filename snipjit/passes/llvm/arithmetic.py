"""What emitters of functions are written with: fma, polynomials, bounds."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from snipjit.passes.llvm.instructions import instruction
from snipjit.passes.llvm.vector_ir import constant, intrinsic
from snipjit.target.target_machine import TargetMachine


def fma(
    builder: ir.IRBuilder, target: TargetMachine, a: ir.Value, b: ir.Value, c: ir.Value
) -> ir.Value:
    """``a*b + c``: one rounding where the CPU has it, else two (``llvm.fma`` would call libm)."""
    if (text := instruction(target, "fma", a.type)) is not None:
        return text(builder, a, b, c)
    return intrinsic(builder, "llvm.fmuladd", a, b, c)


def polynomial(
    builder: ir.IRBuilder, target: TargetMachine, x: ir.Value, coefficients: Sequence[float]
) -> ir.Value:
    """``c[0] + c[1]·x + c[2]·x² + …`` by Horner's rule: one fma for each power of ``x``."""
    *lower, last = coefficients
    result: ir.Value = constant(x.type, last)
    for coefficient in reversed(lower):
        result = fma(builder, target, result, x, constant(x.type, coefficient))
    return result


def at_least(builder: ir.IRBuilder, x: ir.Value, bound: float) -> ir.Value:
    """``max(x, bound)``, NaN stays NaN; the operand order makes it one instruction on x86."""
    limit = constant(x.type, bound)
    return builder.select(builder.fcmp_ordered(">", limit, x), limit, x)


def at_most(builder: ir.IRBuilder, x: ir.Value, bound: float) -> ir.Value:
    """``min(x, bound)``, NaN stays NaN; the operand order makes it one instruction on x86."""
    limit = constant(x.type, bound)
    return builder.select(builder.fcmp_ordered("<", limit, x), limit, x)
