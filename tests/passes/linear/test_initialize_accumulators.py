"""InitializeAccumulators: reductions over a loop's axis become registers that the loop updates."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.ir.expression import Expression
from snipjit.ir.operations import MONOIDS
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.initialize_accumulators import InitializeAccumulators
from tests.linear_examples import before_and_after

PRODUCT = """
linear @g lanes m x 4
axis m
axis n
axis e = 8
input %p : f32[n][m]
input %v : f32[n][e]
output %y : f32[m] order 0
output %z : f32[m][e] order 0 1
parallel m step 16 {
  for n step 8 {
    %x = reduce %p {monoid=max, over=(n)} : f32[m]
    %o = brgemm %p %v {over=(n)} : f32[e m]
  }
  store %y %x : f32[m]
  store %z %o : f32[e m]
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(InitializeAccumulators(), PRODUCT))


@pytest.mark.parametrize("monoid", MONOIDS)
def test_an_accumulator_begins_with_the_identity(monoid: str) -> None:
    lir = parse_linear(PRODUCT.replace("monoid=max", f"monoid={monoid}"))
    lir = InitializeAccumulators().run(lir)
    fills = {s.output: s for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "fill"}
    assert fills["x"].attrs["value"] == MONOIDS[monoid].identity
    combines = [s.op for s, _ in lir.walk() if isinstance(s, Expression) and "x.part" in s.inputs]
    assert combines == [MONOIDS[monoid].combine]


def test_what_is_reduced_over_another_axis_stays() -> None:
    lir = parse_linear(PRODUCT.replace("for n", "for e").replace("over=(n)", "over=(n)"))
    assert InitializeAccumulators().run(lir) == lir
