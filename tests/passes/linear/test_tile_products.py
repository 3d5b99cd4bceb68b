"""Which products fill rows of tile registers, as ChooseSchedule says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.choose_schedule import ChooseSchedule
from snipjit.passes.linear.tile_products import products_in_tiles
from tests.linear_examples import TINY

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
%s = brgemm %q %k {over=(d), pairs=d} : f32[b n m]
%p = exp %s : f32[b n m]
%o = brgemm %p %v {over=(n), pairs=n} : f32[b e m]
store %y %o : f32[b e m]
"""


def marked(text: str) -> list[str | None]:
    lir = ChooseSchedule(TILED).run(parse_linear(text))
    verify(lir)
    return [e.output for e in products_in_tiles(lir)]


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("", "", ["s", "o"]),
        ("axis d = 16", "axis d = 12", ["s", "o"]),  # does not fill rows of 8: it is padded
        ("axis d = 16", "axis d = 13", ["o"]),  # a pair would be read beyond its end
        ("axis d = 16", "axis d = 1", ["o"]),
        ("axis d = 16", "axis d", ["o"]),  # a buffer for it would grow
        ("axis e = 8", "axis e = 1", ["s"]),
        ("%v : bf16[b][n][e]", "%v : bf16[b][e][n]", ["s"]),  # would be read beyond its end
        ("%v : bf16[b][n][e]", "%v : bf16[n][e][b]", ["s"]),
    ],
)
def test_what_is_marked(old: str, new: str, names: list[str]) -> None:
    assert marked(PRODUCTS.replace(old, new)) == names


def test_targets_without_tiles_mark_nothing() -> None:
    lir = ChooseSchedule(replace(TILED, tiles=0)).run(parse_linear(PRODUCTS))
    assert not products_in_tiles(lir)
