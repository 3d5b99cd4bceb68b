from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.passes.graph.softmax_decomposition import SoftmaxDecomposition
from tests.passes.graph.support import rewritten
from tests.subgraph_calls import assert_same_meaning


def _softmax(attrs: str) -> str:
    return f"""
        subgraph @g
        axis m
        axis n
        %x = parameter : f32[m][n]
        %p = softmax %x {{dim=-1{attrs}}} : f32[m][n]
        %r = result %p {{order=(0, 1)}} : f32[m][n]
    """


def test_golden(golden: Callable[[str], None]) -> None:
    golden(rewritten(SoftmaxDecomposition(), _softmax("")))


def test_golden_hidden(golden: Callable[[str], None]) -> None:
    golden(rewritten(SoftmaxDecomposition(), _softmax(", hidden=zero")))


@pytest.mark.parametrize("attrs", ["", ", hidden=zero"])
@pytest.mark.parametrize("columns", [0, 1, 4])
def test_special_rows(attrs: str, columns: int) -> None:
    before = parse_subgraph(_softmax(attrs))
    after = SoftmaxDecomposition().run(before)
    x = np.random.default_rng(0).standard_normal((6, columns))
    x[0] = -np.inf
    x[1, :1] = -np.inf
    x[2, :1] = np.nan
    x[3] = -np.inf
    x[3, :1] = np.nan
    x[4, :1] = np.inf
    assert_same_meaning(before, after, ([x], []))


def test_hidden_rows_are_zero_or_nan() -> None:
    x = np.full((1, 3), -np.inf)
    for attrs, expected in (("", np.nan), (", hidden=zero", 0.0)):
        after = SoftmaxDecomposition().run(parse_subgraph(_softmax(attrs)))
        np.testing.assert_array_equal(interpret(after, [x])[0], np.full((1, 3), expected))


def test_over_a_dim_without_axis_nothing_is_reduced() -> None:
    after = SoftmaxDecomposition().run(parse_subgraph(_softmax("").replace("[n]", "[]")))
    assert not after.of("reduce")
    np.testing.assert_array_equal(interpret(after, [np.ones((2, 1))])[0], np.ones((2, 1)))


COLUMN = """
    subgraph @g
    axis m
    axis n
    %x = parameter : f32[m][n]
    %t = parameter : f32[m][]
    %p = softmax %x %t {dim=-1} : f32[m][n]
    %r = result %p {order=(0, 1)} : f32[m][n]
"""


def test_golden_column(golden: Callable[[str], None]) -> None:
    golden(rewritten(SoftmaxDecomposition(), COLUMN))


@pytest.mark.parametrize("column", [0.0, -np.inf, np.inf, np.nan, 700.0, 800.0, -800.0])
def test_a_column_more(column: float) -> None:
    before = parse_subgraph(COLUMN)
    after = SoftmaxDecomposition().run(before)
    x = np.random.default_rng(0).standard_normal((6, 3))
    x[0] = -np.inf
    x[1, 0], x[2, 0], x[3, 0] = -np.inf, np.nan, np.inf
    x[4] = np.finfo(np.float32).min
    assert_same_meaning(before, after, ([x, np.full((6, 1), column)], []))
