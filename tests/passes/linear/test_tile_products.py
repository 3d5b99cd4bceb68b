"""TileProducts: which products fill rows of tile registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from snipjit.parse_linear import parse_linear
from snipjit.passes.linear.tile_products import TileProducts, products_in_tiles
from tests.linear_examples import TINY, before_and_after, run_on_text

TILED = replace(TINY, pairs=("bf16",), tiles=8)
PRODUCTS = """
linear @g lanes m x 4
axis b
axis m
axis n
axis d = 16
axis e = 8
input %q : bf16[b][m][d]
input %k : bf16[b][n][d]
input %v : bf16[b][n][e]
output %y : f32[b][e][m] order 0 1 2
parallel b step 1 {
  parallel m step 16 {
    %o = fill {value=0.0} : f32[b e m]
    for n step 8 {
      %s = brgemm %q %k {over=(d), pairs=d} : f32[b n m]
      %p = to_bf16 %s : bf16[b n m] pairs n
      %o = brgemm %p %v %o {over=(n), pairs=n} : f32[b e m]
    }
    store %y %o : f32[b e m]
  }
}
"""


def marked(text: str) -> list[str | None]:
    return [
        e.output for e in products_in_tiles(parse_linear(run_on_text(TileProducts(TILED), text)))
    ]


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(TileProducts(TILED), PRODUCTS))


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("", "", ["s", "o"]),
        ("axis d = 16", "axis d = 12", ["s", "o"]),  # does not fill rows of 8: it is padded
        ("axis d = 16", "axis d = 13", ["o"]),  # a pair would be read beyond its end
        ("axis d = 16", "axis d = 1", ["o"]),
        ("axis d = 16", "axis d", ["o"]),  # a buffer for it would grow
        ("axis e = 8", "axis e", ["s"]),
        ("axis e = 8", "axis e = 1", ["s"]),
        ("%v : bf16[b][n][e]", "%v : bf16[b][e][n]", ["s"]),  # would be read beyond its end
        ("%v : bf16[b][n][e]", "%v : bf16[n][e][b]", ["s"]),
    ],
)
def test_what_is_marked(old: str, new: str, names: list[str]) -> None:
    assert marked(PRODUCTS.replace(old, new)) == names


def test_targets_without_tiles_mark_nothing() -> None:
    lir = parse_linear(PRODUCTS)
    assert not products_in_tiles(TileProducts(replace(TILED, tiles=0)).run(lir))
