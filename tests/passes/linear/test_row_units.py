"""RowUnits: differences from a maximum in a unit of their row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snipjit.ir.interpret.linear import interpret
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.row_units import RowUnits
from tests.linear_examples import before_and_after, run_on_text

SOFTMAX = """
linear @g lanes m x 4
axis m
axis n
input %s : f32[n][m]
output %y : f32[n][m] order 0 1
parallel m step 4 {
  %x = fill {value=-inf} : f32[m]
  for n step 8 {
    %part = reduce %s {monoid=larger, over=(n)} : f32[m]
    %x = larger %x %part : f32[m]
  }
  for n step 8 {
    %c = sub %s %x : f32[n m]
    %p = exp4 %c : f32[n m]
    store %y %p : f32[n m]
  }
}
"""
ROUNDED = SOFTMAX.replace("exp4 %c", "exp %c {rounded=f16}")
MASKS = "input %q : f32[n][m]\ninput %a : f32[n]\ninput %b : f32[n]\ninput %s"
SUMS = "    %t = add %q %a : f32[n m]\n    %u = add %t %b : f32[n m]\n    %c = sub %u %x"
MASKED_TWICE = ROUNDED.replace("input %s", MASKS).replace("    %c = sub %s %x", SUMS)


def weights(text: str, scores: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """What the loops make of scores [n][m], before and after the pass."""
    lir = parse_linear(text)
    before = interpret(lir, [scores], [], dtype)[0]
    after = RowUnits().run(lir)
    verify(after)
    found = interpret(after, [scores], [], dtype)[0]
    normal = np.abs(scores).max(axis=0) < 60000
    np.testing.assert_allclose(found[:, normal], before[:, normal], rtol=1e-5)
    return found


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(RowUnits(), SOFTMAX))


def test_of_float16(golden: Callable[[str], None]) -> None:
    golden(before_and_after(RowUnits(), MASKED_TWICE))


def test_maxima_that_cannot_be_doubled() -> None:
    top = np.finfo(np.float32).max
    rows = [[top, top, 0.0], [-top, -top, -top], [3e38, 2.9e38, -top], [1.0, 0.5, -2.0]]
    found = weights(SOFTMAX, np.array(rows).T).T
    np.testing.assert_array_equal(found[:3], [[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    np.testing.assert_allclose(found[3], [1, 0.5, 0.015625], rtol=1e-6)


def test_rows_that_float16_sees_nothing_of() -> None:
    low = -65504.0
    rows = [[low + 3, low - 9, low], [low + 3, low, -np.inf], [low + 3, 2.0, 1.0]]
    found = weights(ROUNDED, np.array(rows).T).T
    np.testing.assert_array_equal(found[:2], [[1, 1, 1], [1, 1, 0]])
    np.testing.assert_allclose(found[2], [0, 1, np.exp(-1)], rtol=1e-6)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("exp4 %c", "exp %c"),
        ("    store %y %p", "    %d = tanh %c : f32[n m]\n    store %y %p"),
        ("    %p = exp4 %c", "    %d = exp %c : f32[n m]\n    %p = exp4 %c"),
        ("%c = sub %s %x", "%c = add %s %x"),
    ],
)
def test_others_stay(old: str, new: str) -> None:
    text = SOFTMAX.replace(old, new)
    assert text != SOFTMAX
    assert "fms" not in run_on_text(RowUnits(), text)


def test_a_maximum_that_moves_has_another_unit() -> None:
    part = "    %part = reduce %s {monoid=larger, over=(n)} : f32[m]\n"
    moved = "    %x = larger %x %part : f32[m]\n    %e = sub %s %x : f32[n m]\n"
    text = SOFTMAX.replace("    %c = sub", f"{part}    %c = sub")
    text = text.replace("    store", f"{moved}    %f = exp4 %e : f32[n m]\n    store")
    assert run_on_text(RowUnits(), text).count("= mul %x %x.unit") == 2
