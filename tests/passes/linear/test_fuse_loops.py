"""FuseLoops: tile loops around Expressions, shared where dependencies allow it."""

from __future__ import annotations

from collections.abc import Callable

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import Loop
from snipjit.ir.schedule import Schedule
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.fuse_loops import ELEMENTWISE_ROWS, FuseLoops
from snipjit.target.candidates import candidate
from tests.linear_examples import TINY, before_and_after

SOFTMAX_BLOCK = """
linear @g lanes m x 4
axis m : rows task 16 panel 8 tile 4 vectors 8 unroll 2
axis n : stream block 8 tile 4 vectors 8 unroll 2
axis d = 8 : contraction tile 4 vectors 8 unroll 2
input %q : f32[d][m]
input %k : f32[n][d]
input %b : f32[n][m]
input %scale : f32
output %y : f32[n][m] order 0 1
output %z : f32[m] order 0
parallel m step 16 {
  for n step 8 {
    for m step 8 {
      %s = brgemm %q %k {over=(d)} : f32[n m]
      %t = mul %s %scale : f32[n m]
      %x = reduce %t {monoid=max, over=(n)} : f32[m]
      %u = add %t %b : f32[n m]
      %c = sub %t %x : f32[n m]
      %v = mul %c %u : f32[n m]
      store %y %v : f32[n m]
      store %z %x : f32[m]
    }
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(FuseLoops(), SOFTMAX_BLOCK))


def rows(text: str) -> dict[str | None, int]:
    """The step of the innermost loop over n around each value."""
    lir = FuseLoops().run(parse_linear(text))
    steps: dict[str | None, int] = {}
    for s, loops in lir.walk():
        around = [loop for loop in loops if loop.axis == "n"]
        if isinstance(s, Expression) and around:
            steps[s.output] = around[-1].step
    return steps


def test_a_product_has_the_rows_of_a_register_tile_and_others_have_fewer() -> None:
    steps = rows(SOFTMAX_BLOCK)
    assert steps["s"] == steps["t"] == steps["u"] == candidate(TINY, Schedule.ROWS).tile
    assert steps["c"] == steps["v"] == ELEMENTWISE_ROWS


def test_transposed_inputs_have_as_many_rows_as_lanes() -> None:
    text = SOFTMAX_BLOCK.replace("%b : f32[n][m]", "%b : f32[m][n]").replace("%t %b", "%b %x")
    wide = text.replace("lanes m x 4", f"lanes m x {2 * ELEMENTWISE_ROWS}")
    assert rows(wide)["u"] == 2 * ELEMENTWISE_ROWS
    assert rows(wide.replace("%b : f32[m][n]", "%b : f32[n][m]"))["u"] == ELEMENTWISE_ROWS


def test_a_value_waits_for_the_reduction_it_reads() -> None:
    lir = FuseLoops().run(parse_linear(SOFTMAX_BLOCK))
    homes = {s.output: loops[-1] for s, loops in lir.walk() if isinstance(s, Expression) and loops}
    assert homes["s"] is homes["x"] is homes["u"]
    assert homes["c"] is homes["v"]
    assert homes["c"] is not homes["x"]


def test_axes_of_step_one_and_lanes_get_no_tile_loop() -> None:
    lir = FuseLoops().run(parse_linear(SOFTMAX_BLOCK.replace("for n step 8", "for n step 1")))
    assert [s.axis for s, _ in lir.walk() if isinstance(s, Loop)] == ["m", "n", "m"]


def test_reduced_axes_are_innermost() -> None:
    text = """
    linear @g lanes m x 4
    axis m : rows task 16 panel 8 tile 4 vectors 8 unroll 2
    axis n : stream block 8 tile 4 vectors 8 unroll 2
    axis e = 5 : columns tile 4 vectors 8 unroll 2
    input %x : f32[n][e][m]
    output %y : f32[e][m] order 0 1
    parallel m step 16 {
      %l = fill {value=0.0} : f32[e m]
      for n step 8 {
        for m step 8 {
          %part = reduce %x {monoid=sum, over=(n)} : f32[e m]
          %l = add %l %part : f32[e m]
        }
      }
      for m step 8 { store %y %l : f32[e m] }
    }
    """
    lir = FuseLoops().run(parse_linear(text))
    paths = {
        s.op: [loop.axis for loop in loops] for s, loops in lir.walk() if isinstance(s, Expression)
    }
    assert paths["reduce"] == ["m", "n", "m", "e", "n"]
