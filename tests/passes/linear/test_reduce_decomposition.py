"""ReduceDecomposition: an accumulator and the combination of a tile's rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.ir.expression import Expression
from snipjit.ir.operations import MONOIDS
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.reduce_decomposition import ReduceDecomposition
from tests.linear_examples import before_and_after

MAXIMUM = """
linear @g lanes m x 4
axis m
axis n
input %x : f32[n][m]
output %y : f32[m] order 0
parallel m step 16 {
  %l = fill {value=-inf} : f32[m]
  for n step 8 {
    for m step 8 {
      for n step 4 {
        %e = exp %x : f32[n m]
        %l.part = reduce %e {monoid=max, over=(n)} : f32[m]
      }
      %l = maximum %l %l.part : f32[m]
    }
  }
  for m step 8 {
    store %y %l : f32[m]
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(ReduceDecomposition(), MAXIMUM))


@pytest.mark.parametrize("monoid", MONOIDS)
def test_every_monoid(monoid: str) -> None:
    lir = ReduceDecomposition().run(parse_linear(MAXIMUM.replace("monoid=max", f"monoid={monoid}")))
    by_output = {s.output: s for s, _ in lir.walk() if isinstance(s, Expression)}
    assert by_output["l.part.tile"].attrs == {"monoid": monoid, "over": ("n",)}
    assert by_output["l.part"].op == MONOIDS[monoid].combine


def test_an_accumulator_begins_in_front_of_all_loops_over_its_axes() -> None:
    text = MAXIMUM.replace("axis n", "axis h = 3\naxis n").replace("%x : f32[n]", "%x : f32[h][n]")
    text = text.replace("for n step 4 {", "for h step 1 { for n step 4 {", 1)
    text = text.replace("}\n      %l = max", "}}\n      %l = max").replace("[n m]", "[h n m]")
    lir = ReduceDecomposition().run(parse_linear(text.replace("over=(n)", "over=(h, n)")))
    begins = [
        [loop.axis for loop in loops]
        for s, loops in lir.walk()
        if isinstance(s, Expression) and s.op == "fill" and s.output == "l.part"
    ]
    assert begins == [["m", "n", "m"]]
