"""InsertBuffers: memory for values that leave the loops they are computed in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.errors import UnsupportedError
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.insert_buffers import InsertBuffers
from tests.linear_examples import before_and_after, run_on_text

TWO_LOOPS = """
linear @g lanes m x 4
axis b
axis m
axis n
input %x : f32[b][n][m]
output %y : f32[b][n][m] order 0 1 2
output %z : f32[b][m] order 0 1
parallel b step 1 {
  parallel m step 16 {
    for m step 8 {
      %t = fill {value=0.0} : f32[b m]
    }
    for n step 8 {
      for m step 8 {
        for n step 4 {
          %s = mul %x %x : f32[b n m]
          %u = neg %s : f32[b n m]
          store %y %u : f32[b n m]
        }
        for n step 2 {
          %p = exp %s : f32[b n m]
          %l.tile = horizon %p {monoid=sum, over=(n)} : f32[b m]
          %t = add %t %l.tile : f32[b m]
        }
      }
    }
    for m step 8 {
      store %z %t : f32[b m]
    }
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(InsertBuffers(), TWO_LOOPS))


def test_a_buffer_holds_one_block_of_axes_with_a_loop_around_it() -> None:
    buffers = InsertBuffers().run(parse_linear(TWO_LOOPS)).buffers()
    assert {name: buffer.extents for name, buffer in buffers.items()} == {
        "s.buffer": {"n": 8, "m": 8},
        "t.buffer": {"m": 16},
    }


def test_a_value_of_unknown_size_is_refused() -> None:
    text = """
    linear @g lanes m x 4
    axis m
    axis n
    input %x : f32[n][m]
    output %y : f32[n][m] order 0 1
    parallel m step 16 {
      for m step 8 {
        for n step 4 { %s = exp %x : f32[n m] }
        for n step 4 { %t = exp %s : f32[n m] ; store %y %t : f32[n m] }
      }
    }
    """
    with pytest.raises(UnsupportedError, match="%s would need a buffer along axis n"):
        InsertBuffers().run(parse_linear(text))


HOISTABLE = """
linear @g lanes m x 4
axis b
axis m
axis n
input %x : f32[b]
input %s : f32[b][n][m]
output %y : f32[b][n][m] order 0 1 2
parallel b step 4 {
  parallel m step 16 {
    for b step 2 {
      for m step 8 {
        %t = neg %x : f32[b]
      }
    }
    for n step 8 {
      for b step 2 {
        for m step 8 {
          for n step 4 {
            %u = add %s %t : f32[b n m]
            store %y %u : f32[b n m]
          }
        }
      }
    }
  }
}
"""


def test_what_a_deeper_loop_defines_is_stored_there() -> None:
    """Nothing carries it out of that loop; a store behind it would read what has ended."""
    text = run_on_text(InsertBuffers(), HOISTABLE)
    assert "%t = neg %x : f32[b]\n        store %t.buffer %t : f32[b]" in text
    assert "%t = load %t.buffer : f32[b]\n        for m step 8" in text
