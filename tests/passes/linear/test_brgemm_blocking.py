"""BrgemmBlocking: a product becomes an accumulator and a loop of multiply-adds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import Loop
from snipjit.ir.schedule import Schedule
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.brgemm_blocking import BrgemmBlocking
from snipjit.target.candidates import candidate
from tests.linear_examples import TINY, before_and_after

PRODUCT = """
linear @g lanes m x 4
axis m : rows task 16 panel 8 tile 4 vectors 8 unroll 2
axis n : stream block 8 tile 4 vectors 8 unroll 2
axis e = 8 : columns tile 4 vectors 8 unroll 2
axis d = 8 : contraction tile 4 vectors 8 unroll 2
axis h = 2 : contraction tile 4 vectors 8 unroll 2
input %q : f32[h][d][m]
input %k : f32[h][n][d]
input %v : f32[n][e]
output %y : f32[e][m] order 0 1
parallel m step 16 {
  for m step 8 {
    for e step 4 {
      %o = fill {value=0.0} : f32[e m]
    }
  }
  for n step 8 {
    for m step 8 {
      for n step 4 {
        %s = brgemm %q %k {over=(h, d)} : f32[n m]
      }
      for e step 4 {
        %o = brgemm %s %v %o {over=(n)} : f32[e m]
      }
    }
  }
  for m step 8 {
    for e step 4 {
      store %y %o : f32[e m]
    }
  }
}
"""


ROWS_OF_LANES = """
linear @g lanes d x 4
axis m : rows task 8 panel 2 tile 4 vectors 8 unroll 2
axis e : columns task 8 panel 2 tile 4 vectors 8 unroll 2
axis d = 96 : contraction tile 4 vectors 8 unroll 2
input %x : f32[m][d]
input %w : f32[e][d]
output %y : f32[m][e] order 0 1
parallel m step 8 {
  parallel e step 8 {
    for m step 2 {
      for e step 2 {
        %s = brgemm %x %w {over=(d)} : f32[m e]
        store %y %s : f32[m e]
      }
    }
  }
}
"""


def test_lanes_of_long_sums_are_apart(golden: Callable[[str], None]) -> None:
    golden(before_and_after(BrgemmBlocking(), ROWS_OF_LANES))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("axis d = 96", "axis d = 64"),  # one iteration
        ("axis e : columns task 8", "axis e : stream block 8"),  # rows that are in a cache
    ],
)
def test_else_they_are_not(old: str, new: str) -> None:
    lir = BrgemmBlocking().run(parse_linear(ROWS_OF_LANES.replace(old, new)))
    assert not any("apart" in e.attrs for e in lir.expressions())


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(BrgemmBlocking(), PRODUCT))


def test_the_operand_that_is_broadcast_comes_first() -> None:
    lir = BrgemmBlocking().run(parse_linear(PRODUCT))
    inputs = [s.inputs for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "fma"]
    assert inputs == [("k", "q", "s"), ("v", "s", "o")]


def test_only_the_innermost_contracted_axis_is_unrolled() -> None:
    lir = BrgemmBlocking().run(parse_linear(PRODUCT))
    loops = [(s.axis, s.step) for s, _ in lir.walk() if isinstance(s, Loop)]
    assert ("h", 1) in loops
    assert ("d", candidate(TINY, Schedule.ROWS).unroll) in loops
