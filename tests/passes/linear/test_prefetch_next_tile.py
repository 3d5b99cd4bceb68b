"""PrefetchNextTile: rows of a weight are asked for while the tile before multiplies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks import structures
from snipjit.compiler import emit, lower
from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.schedule import Schedule
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.base import run_pipeline
from snipjit.passes.linear import pipeline
from snipjit.passes.linear.prefetch_next_tile import PrefetchNextTile
from tests.kernels import TARGETS
from tests.linear_examples import LAYER, PREPARED, before_and_after, final


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


def test_tiles_of_a_panel_share_the_next_one(golden: Callable[[str], None]) -> None:
    golden(before_and_after(PrefetchNextTile(), PREPARED))
    assert _asked(PREPARED) == [("x",), ("w",), ("w",)]
    assert _asked(PREPARED.replace(" block e 4", "")) == [("x",)]


@pytest.mark.parametrize("row", TARGETS)
def test_what_is_shared_is_emitted(row: str) -> None:
    """Of each block of a panel lines are asked for, and never beyond what is there of it."""
    target = TARGETS[row]
    lir = lower(structures.linear(48, 96, block=target.lanes), target, schedule=Schedule.OUTPUTS)
    shared = [e for e in lir.expressions() if "along" in e.attrs]
    text = emit(lir, target)
    assert shared
    assert text.count("i32 0, i32 2, i32 1)") >= len(shared)
    assert "llvm.umin.i64" in text


def test_it_asks_one_tile_ahead() -> None:
    row = TARGETS["portable"]
    lir = final("linear", row, schedule=Schedule.ROWS)
    tiles = [s for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "prefetch"]
    assert {e.attrs.get("ahead") for e in tiles} >= {"m"}
    assert emit(lir, row).count('call void @"llvm.prefetch.p0"') >= len(tiles)


@pytest.mark.parametrize("row", TARGETS)
def test_rows_of_a_matrix_are_asked_for(row: str) -> None:
    """Where they are read in place the next ones, where they are packed those of the next panel."""
    target = TARGETS[row]
    for schedule, wanted in (
        (Schedule.STEPS, {"ahead": "k", "by": 4}),
        (Schedule.BLOCKS, {"ahead": "n", "along": "m"}),
        (Schedule.OUTPUTS, None),
    ):
        lir = lower(structures.linear(96, 192, across=True), target, schedule=schedule)
        asked = [e.attrs for e in lir.expressions() if e.op == "prefetch" and e.inputs == ("w",)]
        assert bool(asked) == (wanted is not None)
        assert all(attrs == wanted for attrs in asked)
        assert emit(lir, target).count("llvm.prefetch") >= len(asked)


def test_many_rows_of_a_matrix_do_not_wait_in_a_cache() -> None:
    target = TARGETS["portable"]
    steps = pipeline(target, Schedule.BLOCKS)
    at = [step.name for step in steps].index("ChooseSchedule") + 1
    graph = structures.linear(192, 192, across=True)
    text = print_linear(run_pipeline(steps[:at], graph))
    for block, shares in ((32, True), (64, True), (96, False)):
        chosen = parse_linear(text.replace("block 32", f"block {block}"))
        lir: LinearIR = run_pipeline(steps[at:], chosen)
        assert any("along" in e.attrs for e in lir.expressions()) == shares


@pytest.mark.parametrize("schedule", [Schedule.ROWS, Schedule.COLUMNS])
def test_long_rows_ask_for_their_own_next_lines(schedule: Schedule) -> None:
    """Those of the next tile would not wait in a near cache."""
    target = TARGETS["avx512"]
    for size, ahead in ((768, "n"), (1040, "k"), (3072, "k")):
        lir = lower(structures.linear(size, 96), target, schedule=schedule)
        asked = [e for e in lir.expressions() if e.op == "prefetch" and e.inputs == ("w",)]
        assert {e.attrs["ahead"] for e in asked} == {ahead}


@pytest.mark.parametrize("row", TARGETS)
def test_rows_that_lie_across_are_asked_for(row: str) -> None:
    """By outputs a panel packs rows of a weight: its tiles ask for those of the next one."""
    target = TARGETS[row]
    for size in (96, 2048, None):
        lir = lower(structures.linear(size, 192), target, schedule=Schedule.OUTPUTS)
        asked = [e.attrs for e in lir.expressions() if e.op == "prefetch" and e.inputs == ("w",)]
        claims = [e for e in lir.expressions() if e.op == "claim"]
        assert asked == ([{"ahead": "n", "along": "m"}] * len(asked) if size else [])
        assert bool(asked) == bool(claims) == (size is not None)
        assert emit(lir, target).count("llvm.prefetch") >= len(asked)
