"""ScaleColumns: scales of a weight's channels scale the columns of the product."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.ir.text.subgraph import print_subgraph
from snipjit.passes.graph.scale_columns import ScaleColumns
from tests.passes.graph.support import before_and_after, rewritten


def test_golden(golden: Callable[[str], None]) -> None:
    before, after = before_and_after(ScaleColumns, "dequantized")
    golden(f"{print_subgraph(before)}\n# after ScaleColumns\n\n{print_subgraph(after)}")


def graph(made: str, dtype: str = "i8", scale: str = "[n]") -> str:
    return f"""
        subgraph @g
        axis m
        axis n = 8
        axis k = 8
        %x = parameter : f32[m][k]
        %w = parameter : {dtype}[n][k]
        %s = parameter : f32{scale}
        %t = scalar : f32
        %0 = to_f32 %w : f32[n][k]
        {made}
        %3 = brgemm %x %2 {{over=(k)}} : f32[m][n]
        %r = result %3 {{order=(0, 1)}} : f32[m][n]
    """


def test_every_factor_moves_in_its_order() -> None:
    made = "%1 = div %0 %t : f32[n][k] ; %2 = mul %s %1 : f32[n][k]"
    after = rewritten(ScaleColumns(), graph(made))
    assert "%3.whole = brgemm %x %0 {over=(k)} : f32[m][n]" in after
    assert "%1.moved = div %3.whole %t : f32[m][n]" in after
    assert "%2.moved = mul %1.moved %s : f32[m][n]" in after


def test_what_stands_before_a_scale_stays() -> None:
    made = "%1 = sub %0 %s : f32[n][k] ; %2 = mul %1 %t : f32[n][k]"
    after = rewritten(ScaleColumns(), graph(made))
    assert "%3.whole = brgemm %x %1 {over=(k)} : f32[m][n]" in after


@pytest.mark.parametrize(
    ("made", "more"),
    [
        ("%2 = mul %0 %s : f32[n][k]", {"scale": "[k]"}),
        ("%2 = mul %0 %s : f32[n][k]", {"dtype": "bf16"}),
        ("%1 = mul %0 %s : f32[n][k] ; %2 = sub %1 %t : f32[n][k]", {}),
        ("%1 = mul %0 %s : f32[n][k] ; %2 = tanh %1 : f32[n][k]", {}),
    ],
    ids=["of what is summed", "no integers", "in front of a zero", "in front of a function"],
)
def test_factors_that_stay(made: str, more: dict[str, str]) -> None:
    assert ".moved" not in rewritten(ScaleColumns(), graph(made, **more))
