"""Odd functions that settle at ±1: ``tanh`` and ``erf``, as ``x·P(x²)/Q(x²)``.

The quotients are minimax fits (Lawson's iteration on the linearised problem) up to the point where
the function rounds to 1: 2e-8 for both, below 6 ulp with rounding. ``x²`` is held at that point
while ``x`` runs on, so that the quotient passes 1, and the result is held to ±1: exact at infinity,
never beyond, and NaN stays NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from snipjit.passes.llvm.arithmetic import at_least, at_most, polynomial
from snipjit.target.target_machine import TargetMachine

TANH_SETTLES = 9.02
TANH_P = (0.9999999790114983, 0.133797181815197, 0.0034940348587080656, 2.0583486506161186e-05,
          1.3319079468926273e-08)  # fmt: skip
TANH_Q = (1.0, 0.4671303342081206, 0.025871074306744506, 0.0003283093344573407,
          7.762022485472171e-07)  # fmt: skip
ERF_SETTLES = 3.93
ERF_P = (1.1283791453548897, 0.19078398290515558, 0.05279031054194335, 0.003779616734302158,
         0.0002848089054281928, 2.041971324283981e-06)  # fmt: skip
ERF_Q = (1.0, 0.5024106221471143, 0.11425758902418312, 0.0149974526534333, 0.001165214772514439,
         3.800409665326409e-05)  # fmt: skip


def emit_tanh(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """The hyperbolic tangent."""
    return _odd_rational(builder, target, x, TANH_SETTLES, TANH_P, TANH_Q)


def emit_erf(builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """The error function."""
    return _odd_rational(builder, target, x, ERF_SETTLES, ERF_P, ERF_Q)


def _odd_rational(
    builder: ir.IRBuilder,
    target: TargetMachine,
    x: ir.Value,
    settles: float,
    numerator: Sequence[float],
    denominator: Sequence[float],
) -> ir.Value:
    """``x·P(x²)/Q(x²)``, and ±1 from ``|x| = settles`` on."""
    square = at_most(builder, builder.fmul(x, x), settles**2)
    above = builder.fmul(x, polynomial(builder, target, square, numerator))
    quotient = builder.fdiv(above, polynomial(builder, target, square, denominator))
    return at_most(builder, at_least(builder, quotient, -1.0), 1.0)
