"""FuseConverts: conversions next to memory go into loads and stores."""

from __future__ import annotations

from collections.abc import Callable

from snipjit.passes.linear.fuse_converts import FuseConverts
from tests.linear_examples import before_and_after

BIAS = """
linear @g lanes m x 4
axis b
axis m
axis n
input %s : bf16[b][n][m]
input %bias : f16[b][n]
output %y : bf16[b][n][m] order 0 1 2
output %z : f32[b][n][m] order 0 1 2
%0 = to_f32 %s : f32[b n m]
%1 = to_f32 %bias : f32[b n]
%2 = add %0 %1 : f32[b n m]
%3 = to_bf16 %2 : bf16[b n m]
store %y %3 : bf16[b n m]
%4 = to_f16 %2 : f16[b n m]
%5 = to_f32 %4 : f32[b n m]
store %z %5 : f32[b n m]
"""
"""The rounding to f16 is of a value that stays in registers: it keeps its meaning."""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(FuseConverts(), BIAS))
