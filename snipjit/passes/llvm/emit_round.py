"""``floor``, ``ceil`` and ``round`` (half to even).

Where a CPU has no instruction LLVM would call libm, so adding and subtracting 2^23, which leaves no
room for a fraction, does the rounding.
"""

from __future__ import annotations

from llvmlite import ir

from snipjit.passes.llvm.instructions import instruction
from snipjit.passes.llvm.vector_ir import constant, intrinsic
from snipjit.target.target_machine import TargetMachine

NO_FRACTION = 2.0**23


def emit_round(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """The nearest integer, the even one of two."""
    if (text := instruction(target, "round", x.type)) is not None:
        return text(builder, x)
    magic = constant(x.type, NO_FRACTION)
    magnitude = intrinsic(builder, "llvm.fabs", x)
    rounded = builder.fsub(builder.fadd(magnitude, magic), magic)
    rounded = intrinsic(builder, "llvm.copysign", rounded, x)
    return builder.select(builder.fcmp_ordered("<", magnitude, magic), rounded, x)


def emit_floor(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """The largest integer that is not above ``x``."""
    if (text := instruction(target, "floor", x.type)) is not None:
        return text(builder, x)
    rounded = emit_round(builder, target, x)
    above = builder.fcmp_ordered(">", rounded, x)
    excess = builder.select(above, constant(x.type, 1.0), constant(x.type, 0.0))
    return builder.fsub(rounded, excess)


def emit_ceil(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """The smallest integer that is not below ``x``."""
    if (text := instruction(target, "ceil", x.type)) is not None:
        return text(builder, x)
    return builder.fneg(emit_floor(builder, target, builder.fneg(x)))
