"""ScaleRows: scalar factors of a product scale its rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.ir.text.subgraph import print_subgraph
from snipjit.passes.graph.scale_rows import ScaleRows
from tests.passes.graph.support import before_and_after, rewritten


def test_golden(golden: Callable[[str], None]) -> None:
    before, after = before_and_after(ScaleRows, "attention_static")
    golden(f"{print_subgraph(before)}\n# after ScaleRows\n\n{print_subgraph(after)}")


def graph(body: str, d: str = " = 8") -> str:
    return f"""
        subgraph @g
        axis m
        axis d{d}
        axis n
        %q = parameter : f32[m][d]
        %k = parameter : f32[n][d]
        %s = scalar : f32
        %t = scalar : f32
        %0 = brgemm %q %k {{over=(d)}} : f32[m][n]
        {body}
    """


RESULT = "%3 = reduce %2 {monoid=sum, over=(n)} : f32[m] ; %r = result %3 {order=(0)} : f32[m]"


def test_every_factor_moves_in_its_order() -> None:
    body = f"%1 = div %0 %s : f32[m][n] ; %2 = mul %1 %t : f32[m][n] ; {RESULT}"
    after = rewritten(ScaleRows(), graph(body))
    assert "%1.moved = div %q %s : f32[m][d]" in after
    assert "brgemm %2.moved %k {over=(d)} : f32[m][n]" in after


@pytest.mark.parametrize(
    ("body", "d"),
    [
        (f"%1 = tanh %0 : f32[m][n] ; %2 = mul %1 %s : f32[m][n] ; {RESULT}", " = 8"),
        (f"%1 = mul %0 %s : f32[m][n] ; %2 = add %1 %0 : f32[m][n] ; {RESULT}", " = 8"),
        (f"%2 = mul %0 %s : f32[m][n] ; {RESULT}", ""),
    ],
    ids=["behind a function", "the product is read elsewhere", "no static size"],
)
def test_factors_that_stay(body: str, d: str) -> None:
    assert ".moved" not in rewritten(ScaleRows(), graph(body, d))
