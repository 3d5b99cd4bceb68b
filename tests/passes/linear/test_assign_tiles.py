"""AssignTiles: registers for the operands of products in tiles, where the tile fills some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.assign_tiles import AssignTiles, Interval, linear_scan
from tests.linear_examples import TINY, before_and_after, run_on_text

TILED = replace(TINY, pairs=("bf16",), tiles=8)
PRODUCT = """
linear @g lanes m x 4
axis m
axis n
axis d = 16
input %q : bf16[m][d]
input %k : bf16[n][d]
output %y : f32[n][m] order 0 1
parallel m step 8 {
  buffer %q.buffer : bf16[d:16][m:8] pairs d
  for m step 8 masked {
    %q.packed = load %q : bf16[d m] pairs d
    store %q.buffer %q.packed : bf16[d m] pairs d
  }
  for n step 8 {
    for m step 8 masked {
      buffer %s.buffer : f32[n:8][m:8]
      for n step 8 {
        %s = fill {value=0.0} : f32[n m]
        for d step 8 {
          %q.packed = load %q.buffer : bf16[d m] pairs d
          %k.tile = load %k : bf16[n d] pairs d
          %s = fma %k.tile %q.packed %s {over=(d), pairs=d, tiles=true} : f32[n m]
        }
        store %s.buffer %s : f32[n m]
      } tail 2 {
        %s = fill {value=0.0} : f32[n m]
        for d step 8 {
          %q.packed = load %q.buffer : bf16[d m] pairs d
          %k.tile = load %k : bf16[n d] pairs d
          %s = fma %k.tile %q.packed %s {over=(d), pairs=d, tiles=true} : f32[n m]
        }
        store %s.buffer %s : f32[n m]
      }
      for n step 1 {
        %s = load %s.buffer : f32[n m]
        store %y %s : f32[n m]
      }
    }
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(AssignTiles(TILED), PRODUCT))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%s = fill {value=0.0}", "%s = fill {value=1.0}"),
        ("for d step 8", "for d step 4"),
        ("%k : bf16[n][d]", "%k : bf16[d][n]"),  # its rows are not rows of memory
        ("store %s.buffer %s : f32[n m]", "store %y %s : f32[n m]"),  # may end inside a register
        (", tiles=true", ""),
    ],
)
def test_what_does_not_fit_stays_in_vectors(old: str, new: str) -> None:
    text = PRODUCT.replace(old, new)
    assert parse_linear(run_on_text(AssignTiles(TILED), text)) == parse_linear(text)


def test_results_that_are_alive_together_stay_in_vectors() -> None:
    fill, again = "%s = fill {value=0.0} : f32[n m]", "%t = fill {value=0.0} : f32[n m]"
    store = "store %s.buffer %s : f32[n m]"
    start = PRODUCT.index("        for d step 8")
    loop = PRODUCT[start : PRODUCT.index(store)]
    second = loop.replace("%s", "%t")
    text = PRODUCT.replace(fill, f"{fill} ; {again}").replace(store, f"{second}{store}")
    declared = "buffer %s.buffer : f32[n:8][m:8]"
    text = text.replace(declared, f"{declared} ; {declared.replace('s.b', 't.b')}")
    text = text.replace(store, f"{store} ; store %t.buffer %t : f32[n m]")
    assert parse_linear(run_on_text(AssignTiles(TILED), text)) == parse_linear(text)


def test_too_few_registers() -> None:
    target = replace(TILED, tiles=7)
    assert parse_linear(run_on_text(AssignTiles(target), PRODUCT)) == parse_linear(PRODUCT)


def test_linear_scan() -> None:
    """Registers are free again behind the last use; what does not fit is told."""
    intervals = [Interval("c", 4, 0, 4), Interval("a", 2, 1, 3), Interval("b", 2, 2, 3)]
    assert linear_scan(intervals, 8) == {"c": (0, 1, 2, 3), "a": (4, 5), "b": (6, 7)}
    assert linear_scan(intervals, 7) is None
    in_turn = [Interval("a", 2, 0, 1), Interval("b", 2, 2, 3), Interval("c", 1, 1, 2)]
    assert linear_scan(in_turn, 3) == {"a": (0, 1), "c": (2,), "b": (0, 1)}
