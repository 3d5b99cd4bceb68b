"""BrgemmBlocking: a product becomes an accumulator and a loop of multiply-adds."""

from __future__ import annotations

from collections.abc import Callable

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
