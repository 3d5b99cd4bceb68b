"""ShareColumns: products of one input go over one axis of columns."""

from __future__ import annotations

import numpy as np
import pytest

from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.ir.verify.subgraph import verify_canonical
from snipjit.passes.graph.share_columns import ShareColumns
from tests.passes.graph.support import before_and_after, examples
from tests.subgraph_calls import assert_same_meaning

LAYERS = """
subgraph @layers
axis m
axis d = 6
axis e0 = 5
axis e1 = 5
axis e2 = 4
%x = parameter : f32[m][d]
%u = parameter : f32[e0][d]
%v = parameter : f32[e1][d]
%w = parameter : f32[e2][d]
%c = parameter : f32[e1]
%0 = brgemm %x %u {over=(d)} : f32[m][e0]
%1 = brgemm %x %v {over=(d)} : f32[m][e1]
%2 = brgemm %x %w {over=(d)} : f32[m][e2]
%3 = add %1 %c : f32[m][e1]
%r0 = result %0 {order=(0, 1)} : f32[m][e0]
%r1 = result %3 {order=(0, 1)} : f32[m][e1]
%r2 = result %2 {order=(0, 1)} : f32[m][e2]
"""
SHAPES = [(3, 6), (5, 6), (5, 6), (4, 6), (5,)]


def shared(text: str) -> Subgraph:
    before = parse_subgraph(text)
    verify_canonical(before)
    after = ShareColumns().run(before)
    verify_canonical(after)
    return after


def test_layers_that_are_as_wide_share_an_axis() -> None:
    after = shared(LAYERS)
    assert list(after.axes) == ["m", "d", "e0", "e2"]
    assert after["3"].type.axes == ("m", "e0")
    assert after["c"].type.axes == ("e0",)
    assert parse_subgraph(print_subgraph(after)) == after


def test_the_meaning_stays() -> None:
    random = np.random.default_rng(0)
    call = [random.standard_normal(shape) for shape in SHAPES], list[float]()
    assert_same_meaning(parse_subgraph(LAYERS), shared(LAYERS), call)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("axis e1 = 5", "axis e1 = 7"),  # as wide
        ("axis e0 = 5\naxis e1 = 5", "axis e0\naxis e1"),  # of sizes that are known
        ("%1 = brgemm %x", "%y = parameter : f32[m][d]\n%1 = brgemm %y"),  # of one input
    ],
)
def test_other_layers_stay(old: str, new: str) -> None:
    assert "e1" in shared(LAYERS.replace(old, new)).axes


def test_axes_that_meet_stay() -> None:
    body = "%4 = add %0 %3 : f32[m][e0][e1]\n%r3 = result %4 {order=(0, 1, 2)} : f32[m][e0][e1]\n"
    assert "e1" in shared(LAYERS + body).axes


@examples
def test_other_graphs_stay(example: str) -> None:
    before, after = before_and_after(ShareColumns, example)
    assert (after == before) is (example != "layers")
