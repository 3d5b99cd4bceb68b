"""RoundFactors: computed factors of products of pairs are rounded, once for all products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.round_factors import RoundFactors
from tests.linear_examples import TINY, before_and_after, run_on_text

PAIRED = replace(TINY, pairs=("bf16",))
SECOND = """
linear @g lanes m x 4
axis b
axis m
axis n
axis e = 8
input %s : f32[b][n][m]
input %v : bf16[b][n][e]
input %w : bf16[b][n][e]
output %y : f32[b][e][m] order 0 1 2
output %z : f32[b][e][m] order 0 1 2
%p = exp %s : f32[b n m]
%o = brgemm %p %v {over=(n), pairs=n} : f32[b e m]
%x = brgemm %p %w {over=(n), pairs=n} : f32[b e m]
store %y %o : f32[b e m]
store %z %x : f32[b e m]
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(RoundFactors(PAIRED), SECOND))


def test_other_products_keep_their_factors() -> None:
    text = SECOND.replace(", pairs=n", "")
    assert parse_linear(run_on_text(RoundFactors(PAIRED), text)) == parse_linear(text)
