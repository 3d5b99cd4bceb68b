"""``floor``, ``ceil`` and ``round`` (half to even).

CPUs with SSE4.1 or AVX have an instruction; for others LLVM would call libm, so adding and
subtracting 2^23, which leaves no room for a fraction, does the rounding.
"""

from __future__ import annotations

from llvmlite import ir

from snipjit.passes.llvm.vector_ir import constant, intrinsic
from snipjit.target_machine import TargetMachine

HAVE_ROUNDING = {"sse4.1", "avx", "avx2", "avx512f", "neon"}
NO_FRACTION = 2.0**23


def emit_round(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """The nearest integer, the even one of two."""
    if _has_rounding(target):
        return intrinsic(builder, "llvm.roundeven", x)
    magic = constant(x.type, NO_FRACTION)
    magnitude = intrinsic(builder, "llvm.fabs", x)
    rounded = builder.fsub(builder.fadd(magnitude, magic), magic)
    rounded = intrinsic(builder, "llvm.copysign", rounded, x)
    return builder.select(builder.fcmp_ordered("<", magnitude, magic), rounded, x)


def emit_floor(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """The largest integer that is not above ``x``."""
    if _has_rounding(target):
        return intrinsic(builder, "llvm.floor", x)
    rounded = emit_round(builder, target, x)
    above = builder.fcmp_ordered(">", rounded, x)
    excess = builder.select(above, constant(x.type, 1.0), constant(x.type, 0.0))
    return builder.fsub(rounded, excess)


def emit_ceil(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """The smallest integer that is not below ``x``."""
    if _has_rounding(target):
        return intrinsic(builder, "llvm.ceil", x)
    return builder.fneg(emit_floor(builder, target, builder.fneg(x)))


def _has_rounding(target: TargetMachine) -> bool:
    return not HAVE_ROUNDING.isdisjoint(target.features)
