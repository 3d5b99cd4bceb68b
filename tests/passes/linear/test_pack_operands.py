"""PackOperands: an operand with strided lanes is brought into lanes order once a task."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.parse_linear import parse_linear
from snipjit.passes.linear.pack_operands import PackOperands
from tests.linear_examples import before_and_after

PRODUCT = """
linear @g lanes m x 4
axis b
axis m
axis n
axis d = 8
input %q : f32[b][m][d]
input %k : f32[b][n][d]
output %y : f32[b][n][m] order 0 1 2
parallel b step 1 {
  parallel m step 16 {
    for n step 8 {
      %s = brgemm %q %k {over=(d)} : f32[b n m]
      store %y %s : f32[b n m]
    }
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(PackOperands(), PRODUCT))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%q : f32[b][m][d]", "%q : f32[b][d][m]"),
        ("axis d = 8", "axis d"),
    ],
)
def test_what_lies_in_lanes_order_or_is_of_unknown_size_stays(old: str, new: str) -> None:
    lir = parse_linear(PRODUCT.replace(old, new))
    assert PackOperands().run(lir) == parse_linear(PRODUCT.replace(old, new))
