"""Pairs: two bf16 numbers in 32 bits, as AVX512-BF16 multiplies them: the first in the lower half.

A pair is an ``i32`` here, or a vector of them. The instructions take subnormal numbers for zero.
"""

from __future__ import annotations

from llvmlite import ir

from snipjit.passes.llvm.instructions import instruction
from snipjit.passes.llvm.vector_ir import (
    I32,
    constant,
    pick,
    pick_of_two,
    with_element,
)
from snipjit.target.target_machine import TargetMachine


def fma_pairs(
    builder: ir.IRBuilder, target: TargetMachine, a: ir.Value, b: ir.Value, c: ir.Value
) -> ir.Value:
    """``c + a[0]*b[0] + a[1]*b[1]`` for each pair of two vectors."""
    text = instruction(target, "dot pairs", c.type)
    assert text is not None, "the target marks products of pairs"
    return text(builder, a, b, c)


def pair(
    builder: ir.IRBuilder, target: TargetMachine, first: ir.Value, second: ir.Value
) -> ir.Value:
    """Two vectors of ``f32``, rounded, as one of pairs: an element of each."""
    count = first.type.count
    turns = [lane for number in range(count) for lane in (number, count + number)]
    return builder.bitcast(
        pick(builder, _rounded(builder, target, first, second), turns),
        with_element(first.type, I32),
    )


def halves(
    builder: ir.IRBuilder, target: TargetMachine, first: ir.Value, second: ir.Value
) -> ir.Value:
    """Two vectors of ``f32``, rounded, as one of pairs: those of the first, then of the second."""
    return builder.bitcast(_rounded(builder, target, first, second), with_element(first.type, I32))


def _rounded(
    builder: ir.IRBuilder, target: TargetMachine, first: ir.Value, second: ir.Value
) -> ir.Value:
    """The elements of two vectors, one after another."""
    text = instruction(target, "round two", first.type)
    assert text is not None, "the target marks products of pairs"
    return text(builder, first, second)


def interleave_halves(
    builder: ir.IRBuilder, first: ir.Value, second: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """The bits of 16-bit numbers in two vectors as two vectors of pairs, one of each."""
    count = first.type.count
    shape = ir.VectorType(I32, count // 2)
    turns = [lane for number in range(count) for lane in (number, count + number)]
    low, high = (pick_of_two(builder, first, second, turns[i : i + count]) for i in (0, count))
    return builder.bitcast(low, shape), builder.bitcast(high, shape)


def join_halves(builder: ir.IRBuilder, first: ir.Value, second: ir.Value | None = None) -> ir.Value:
    """The bits of two 16-bit numbers as a pair; zero is the second one of none."""
    shape = with_element(first.type, I32)
    low = builder.zext(first, shape)
    if second is None:
        return low
    high = builder.shl(builder.zext(second, shape), constant(shape, 16))
    return builder.or_(low, high)
