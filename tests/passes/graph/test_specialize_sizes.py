from __future__ import annotations

from snipjit.compiler import optimize
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.passes.graph.specialize_sizes import SpecializeSizes, feature_axes
from tests import subgraphs
from tests.passes.graph.support import lines, rewritten


def test_dynamic_axes_get_sizes() -> None:
    before = """
        subgraph @g
        axis m
        axis d
        axis e = 4
        %x = parameter : f32[m][d][e]
        %a = exp %x : f32[m][d][e]
        %r = result %a {order=(0, 1, 2)} : f32[m][d][e]
    """
    after = before.replace("axis d", "axis d = 8")
    assert rewritten(SpecializeSizes({"d": 8, "e": 9}), before) == lines(after)


def test_features_are_what_products_sum_and_their_columns() -> None:
    assert feature_axes(optimize(subgraphs.attention(D=None))) == ["d", "e"]
    assert feature_axes(optimize(subgraphs.attention(D=8))) == []


def test_lengths_are_no_features() -> None:
    text = """
        subgraph @g
        axis m
        axis n
        %x = parameter : f32[m][n]
        %a = reduce %x {monoid=max, over=(n)} : f32[m][]
        %b = sub %x %a : f32[m][n]
        %r = result %b {order=(0, 1)} : f32[m][n]
    """
    assert feature_axes(parse_subgraph(text)) == []
