"""The FMA peak: how many operations a second one thread does in registers, a floor for products.

A loop compiled as our kernels are, of independent fused multiply-adds that touch no memory.
"""

from __future__ import annotations

import ctypes
from functools import cache
from time import perf_counter

import numpy as np

from snipjit.runtime import engine
from snipjit.target.target_machine import TargetMachine

SUMS = 12
"""Independent sums: enough for the latency of two units of all CPUs that we know."""

TURNS = 100_000

_TEXT = """
declare {vector} @llvm.fma.{kind}({vector}, {vector}, {vector})
declare float @llvm.vector.reduce.fadd.{kind}(float, {vector})

define void @peak(ptr %result) {{
entry:
  %first = load float, ptr %result
  %head = insertelement {vector} poison, float %first, i32 0
  %factor = shufflevector {vector} %head, {vector} poison, <{lanes} x i32> zeroinitializer
  br label %loop
loop:
  %turn = phi i64 [ 0, %entry ], [ %next, %loop ]
{sums}
{products}
  %next = add i64 %turn, 1
  %again = icmp ult i64 %next, {turns}
  br i1 %again, label %loop, label %done
done:
{folds}
  %total = call reassoc float @llvm.vector.reduce.fadd.{kind}(float 0.0, {vector} %fold{last})
  store float %total, ptr %result
  ret void
}}
"""


def fma_peak(target: TargetMachine, rounds: int = 7) -> float:
    """FLOP/s of one thread with the vectors of a target row: the best of some rounds."""
    loaded, result = _loaded(target), np.full(1, 0.5, dtype=np.float32)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.address)
    rates = []
    for _ in range(rounds):
        result[0] = 0.5
        start = perf_counter()
        call(result.ctypes.data)
        rates.append(2 * SUMS * target.lanes * TURNS / (perf_counter() - start))
    return max(rates)


@cache
def _loaded(target: TargetMachine) -> engine.Loaded:
    """The machine code of the loop, kept for the life of the process."""
    return engine.load(engine.compile_object(_text(target.lanes), target), "peak")


def _text(lanes: int) -> str:
    """The loop as LLVM IR."""
    vector, kind, sums = f"<{lanes} x float>", f"v{lanes}f32", range(SUMS)
    return _TEXT.format(
        vector=vector,
        kind=kind,
        lanes=lanes,
        turns=TURNS,
        last=SUMS - 1,
        sums="\n".join(
            f"  %old{n} = phi {vector} [ %factor, %entry ], [ %new{n}, %loop ]" for n in sums
        ),
        products="\n".join(
            f"  %new{n} = call {vector} @llvm.fma.{kind}"
            f"({vector} %old{n}, {vector} %factor, {vector} %factor)"
            for n in sums
        ),
        folds="\n".join(
            f"  %fold{n} = fadd {vector} %new{n}, " + (f"%fold{n - 1}" if n else "zeroinitializer")
            for n in sums
        ),
    )
