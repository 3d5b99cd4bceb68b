"""PrefetchNextTile: rows of a weight are asked for while the tile before multiplies."""

from __future__ import annotations

from collections.abc import Callable

from snipjit.compiler import emit
from snipjit.ir.expression import Expression
from snipjit.ir.schedule import Schedule
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.prefetch_next_tile import PrefetchNextTile
from tests.kernels import TARGETS
from tests.linear_examples import LAYER, before_and_after, final


def _asked(text: str) -> list[tuple[str, ...]]:
    lir = PrefetchNextTile().run(parse_linear(text))
    return [s.inputs for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "prefetch"]


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(PrefetchNextTile(), LAYER))


def test_only_rows_along_the_sum() -> None:
    assert _asked(LAYER) == [("w",)]
    assert _asked(LAYER.replace("%w : f32[e][d]", "%w : f32[d][e]")) == []


def test_what_is_streamed_is_in_a_cache() -> None:
    streamed = LAYER.replace("axis e : columns task 8", "axis e : stream block 8")
    assert _asked(streamed) == []


def test_it_asks_one_tile_ahead() -> None:
    row = TARGETS["portable"]
    lir = final("linear", row, schedule=Schedule.ROWS)
    tiles = [s for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "prefetch"]
    assert {e.attrs.get("ahead") for e in tiles} >= {"m"}
    assert emit(lir, row).count('call void @"llvm.prefetch.p0"') >= len(tiles)
