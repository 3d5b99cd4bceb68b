"""InsertSpecificIterations: main bodies and tails of known size."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.ir.interpret.loops import iterations
from snipjit.ir.linear_ir import Loop, Piece
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear_loops import tiles_end
from snipjit.passes.linear.insert_specific_iterations import InsertSpecificIterations
from tests.linear_examples import LAYER, PREPARED, before_and_after

COPY = """
linear @g lanes m x 4
axis m
axis n
axis e = 7
input %x : f32[e][n][m]
output %y : f32[e][n][m] order 0 1 2
parallel m step 16 {
  for m step 12 {
    for n step 4 {
      for e step 4 {
        %0 = load %x : f32[n e m]
        store %y %0 : f32[n e m]
      }
    }
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(InsertSpecificIterations(), COPY))


def pieces(text: str, axis: str) -> list[tuple[int, bool]]:
    """The bodies of the innermost loop over an axis: steps, and whether they are masked."""
    lir = InsertSpecificIterations().run(parse_linear(text))
    loop = next(
        s for s, _ in lir.walk() if isinstance(s, Loop) and s.axis == axis and not s.parallel
    )
    return [(piece.step, piece.masked) for piece in loop.pieces]


@pytest.mark.parametrize(
    ("step", "steps"), [(1, [1]), (2, [2, 1]), (4, [4, 2, 1]), (8, [8, 4, 2, 1]), (6, [6, 4, 2, 1])]
)
def test_a_dynamic_axis_gets_halves(step: int, steps: list[int]) -> None:
    text = COPY.replace("for n step 4", f"for n step {step}")
    assert pieces(text, "n") == [(step, False) for step in steps]


@pytest.mark.parametrize(
    ("size", "steps"), [(8, [4]), (7, [4, 2, 1]), (6, [4, 2]), (5, [4, 1]), (3, [2, 1]), (1, [1])]
)
def test_a_static_axis_gets_the_tails_it_needs(size: int, steps: list[int]) -> None:
    assert pieces(COPY.replace("axis e = 7", f"axis e = {size}"), "e") == [
        (step, False) for step in steps
    ]


def test_lanes_are_masked_and_go_on_vector_by_vector() -> None:
    assert pieces(COPY, "m") == [(12, True), (4, True)]


def test_beside_products_of_pairs_there_is_a_panel_of_each_width() -> None:
    product = "%z = fma %x %x %x {over=(d), pairs=d} : f32[n m]"
    text = COPY.replace("store %y", f"{product} store %y")
    lir = parse_linear(text)
    loops = [s for s, _ in InsertSpecificIterations().run(lir).walk() if isinstance(s, Loop)]
    panel = next(loop for loop in loops if loop.axis == "m" and not loop.parallel)
    assert [piece.step for piece in panel.pieces] == [12, 8, 4]


def test_block_loops_stay_as_they_are() -> None:
    text = COPY.replace("for n step 4 {", "for n step 8 { for n step 4 {") + "}"
    assert pieces(text, "n") == [(8, False)]


PANEL = (
    LAYER.replace("parallel m step 16", "parallel m step 24")
    .replace("for m step 8", "for m step 12")
    .replace("for e step 2", "for e step 4")
)


def test_narrower_panels_of_products_have_wider_tiles() -> None:
    """As many accumulators, but of no more rows than are well read side by side."""
    assert pieces(PANEL, "m") == [(12, True), (8, True), (4, True)]
    lir = InsertSpecificIterations().run(parse_linear(PANEL))
    panel = next(s for s, _ in lir.walk() if isinstance(s, Loop) and s.step == 12)
    tiles = [[s.step for s in piece.body if isinstance(s, Loop)] for piece in panel.pieces]
    assert tiles == [[4], [4], [12]]


def test_rows_that_share_a_panel_are_one_piece() -> None:
    """Three rows would be two and one, each of which reads all of the weight."""
    text = PANEL.replace("lanes m x 4", "lanes d x 4").replace("for m step 12", "for m step 4")
    assert pieces(text, "m") == [(4, False), (3, False), (2, False), (1, False)]


def test_tiles_of_products_alone_are_even() -> None:
    lir = InsertSpecificIterations().run(parse_linear(PREPARED))
    loops = [s for s, _ in lir.walk() if isinstance(s, Loop) and s.axis == "m" and not s.parallel]
    assert [[piece.step for piece in loop.pieces] for loop in loops] == [
        [3, 2, 1],
        [6, 5, 4, 3, 2, 1],
    ]
    assert all(loop.even for loop in loops)
    assert parse_linear(print_linear(lir)) == lir


@pytest.mark.parametrize(
    ("work", "tiles"),
    [(1, [1]), (8, [8]), (9, [5, 4]), (17, [6, 6, 5]), (31, [8, 8, 8, 7]), (33, [7, 7, 7, 6, 6])],
)
def test_even_loops_share_what_there_is(work: int, tiles: list[int]) -> None:
    loop = Loop("m", [Piece(step, []) for step in range(8, 0, -1)], even=True)
    assert [count for _, count in iterations(loop, work, 4)] == tiles
    assert tiles_end(loop, work, 4) == work
