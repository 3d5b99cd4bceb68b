"""SplitLoops: panels of register tiles inside the block of lanes of a task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from snipjit.ir.interpret.linear import interpret
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.split_loops import SplitLoops
from tests.linear_examples import before_and_after

ROWS = """
linear @g lanes m x 4
axis m : rows task 16 panel 8 tile 4 vectors 8 unroll 2
axis n : stream block 8 tile 4 vectors 8 unroll 2
input %x : f32[m][n]
input %keep : i1[n]
output %y : f32[m] order 0
parallel m step 16 {
  %l = fill {value=0.0} : f32[m]
  for n step 8 {
    %hide = not %keep : i1[n]
    %e = exp %x : f32[n m]
    %zero = fill {value=0.0} : f32[]
    %p = where %hide %zero %e : f32[n m]
    %l.part = reduce %p {monoid=sum, over=(n)} : f32[m]
    %l = add %l %l.part : f32[m]
  }
  store %y %l : f32[m]
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(SplitLoops(), ROWS))


LAYER = """
linear @layer lanes e d x 4
axis m : rows task 8 panel 2 tile 4 unroll 2
axis e : rows task 8 panel 3 tile 4 unroll 2
axis d = 8 : contraction tile 4 unroll 2
input %x : f32[m][d]
input %u : f32[e][d]
input %w : f32[e][d]
output %y : f32[m][e] order 0 1
parallel m step 8 {
  parallel e step 8 {
    %s = brgemm %x %u {over=(d)} : f32[m e]
    %r = exp %s : f32[m e]
    %one = fill {value=1.0} : f32[]
    %t = brgemm %x %w {over=(d)} : f32[m e]
    %p = add %t %one : f32[m e]
    %q = mul %r %p : f32[m e]
    store %y %q : f32[m e]
  }
}
"""


def test_panels_of_less_than_a_vector_have_the_products_alone(
    golden: Callable[[str], None],
) -> None:
    golden(before_and_after(SplitLoops(), LAYER))
    x, u, w = (np.random.default_rng(0).normal(size=(rows, 8)) for rows in (5, 7, 7))
    (result,) = interpret(SplitLoops().run(parse_linear(LAYER)), [x, u, w])
    np.testing.assert_allclose(result, np.exp(x @ u.T) * (x @ w.T + 1.0))


def test_what_has_no_lanes_stays_behind_the_loops_it_waits_for() -> None:
    text = """
    linear @norm lanes m x 4
    axis m : rows task 16 panel 8 tile 4 vectors 8 unroll 2
    axis n : stream block 8 tile 4 vectors 8 unroll 2
    input %x : f32[m]
    input %z : f32[n]
    output %y : f32[m] order 0
    parallel m step 16 {
      %l = fill {value=0.0} : f32[]
      for n step 8 {
        %l.part = reduce %z {monoid=sum, over=(n)} : f32[]
        %l = add %l %l.part : f32[]
      }
      %r = sqrt %l : f32[]
      %o = div %x %r : f32[m]
      store %y %o : f32[m]
    }
    """
    x, z = np.arange(21.0), np.arange(13.0)
    (result,) = interpret(SplitLoops().run(parse_linear(text)), [x, z])
    np.testing.assert_allclose(result, x / np.sqrt(z.sum()))
