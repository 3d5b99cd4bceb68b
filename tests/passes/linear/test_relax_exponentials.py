"""RelaxExponentials: exponentials that are rounded, and summed at most, are less exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from snipjit.passes.linear.relax_exponentials import RelaxExponentials
from tests.linear_examples import TINY, before_and_after, run_on_text

PAIRED = replace(TINY, pairs=("bf16",))
ROUNDED = """
linear @g lanes m x 4
axis b
axis m
axis n
axis e = 8
input %s : f32[b][n][m]
input %v : bf16[b][n][e]
output %y : bf16[b][e][m] order 0 1 2
%p = exp2 %s : f32[b n m]
%p.bf16 = to_bf16 %p : bf16[b n m] pairs n
%o = brgemm %p.bf16 %v {over=(n), pairs=n} : f32[b e m]
%l = reduce %p {monoid=sum, over=(n)} : f32[b m]
%r = div %o %l : f32[b e m]
store %y %r : f32[b e m]
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(RelaxExponentials(PAIRED), ROUNDED))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("output %y : bf16", "output %y : f32"),  # the sum divides what nobody rounds
        ("%l = reduce %p {monoid=sum", "%l = reduce %p {monoid=larger"),
        ("%r = div %o %l : f32[b e m]", "%t = log %p : f32[b n m]\n%r = div %o %l : f32[b e m]"),
        ("%p.bf16 = to_bf16 %p", "%q = mul %p %p : f32[b n m]\n%p.bf16 = to_bf16 %q"),
    ],
)
def test_others_stay_exact(old: str, new: str) -> None:
    text = ROUNDED.replace(old, new)
    assert text != ROUNDED
    assert "precision" not in run_on_text(RelaxExponentials(PAIRED), text)


def test_without_pairs_nothing_is_rounded_to_less() -> None:
    assert "precision" not in run_on_text(RelaxExponentials(TINY), ROUNDED)
