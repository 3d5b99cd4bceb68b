"""PadBuffers: zeros behind what masked sums read, after the last store."""

from __future__ import annotations

from collections.abc import Callable

from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.pad_buffers import PadBuffers
from tests.linear_examples import before_and_after, run_on_text

SUM = """
linear @g lanes m x 4
axis m
axis n
axis e = 8
input %p : bf16[n][m]
input %v : bf16[e][n]
output %y : f32[e][m] order 0 1
parallel m step 16 {
  for n step 16 {
    buffer %p.buffer : bf16[n:16][m:16] pairs n
    buffer %v.buffer : bf16[e:8][n:16] pairs n
    for n step 2 {
      %v.packed = load %v : bf16[n e] pairs n
      store %v.buffer %v.packed : bf16[n e] pairs n
    }
    for n step 4 {
      %p.packed = load %p : bf16[n m] pairs n
      store %p.buffer %p.packed : bf16[n m] pairs n
    }
    %o = fill {value=0.0} : f32[e m]
    for n step 8 masked {
      %p.packed = load %p.buffer : bf16[n m] pairs n
      %v.packed = load %v.buffer : bf16[n e] pairs n
      %o = fma %v.packed %p.packed %o {over=(n), pairs=n, tiles=true} : f32[e m]
    }
    store %y %o : f32[e m]
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(PadBuffers(), SUM))


def test_sums_that_end_where_the_axis_ends_need_no_zeros() -> None:
    text = SUM.replace("for n step 8 masked", "for n step 8").replace(", tiles=true", "")
    assert parse_linear(run_on_text(PadBuffers(), text)) == parse_linear(text)
