from __future__ import annotations

import numpy as np
import pytest

from snipjit.ir.parts import Parts
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.ir.verify.subgraph import verify_canonical
from snipjit.passes.graph.merge_axes import MergeAxes
from tests.passes.graph.support import before_and_after, examples
from tests.subgraph_calls import assert_same_meaning

ATTENTION = """
subgraph @pixels
axis b0
axis b1
axis m
axis n0
axis n1
axis d
axis e
%q = parameter : f32[b0][b1 m][d]
%k = parameter : f32[b0][n0 n1][d]
%v = parameter : f32[b0][n0 n1][e]
%h = parameter : f32[b0][b1][m][n0][]
%w = parameter : f32[b0][b1][m][][n1]
%0 = brgemm %q %k {over=(d)} : f32[b0][b1][m][n0][n1]
%c = mul %h %h : f32[b0][b1][m][n0]
%1 = add %0 %c : f32[b0][b1][m][n0][n1]
%2 = add %1 %w : f32[b0][b1][m][n0][n1]
%3 = exp %2 : f32[b0][b1][m][n0][n1]
%4 = reduce %3 {monoid=sum, over=(n0, n1)} : f32[b0][b1][m]
%5 = brgemm %3 %v {over=(n0, n1)} : f32[b0][b1][m][e]
%6 = div %5 %4 : f32[b0][b1][m][e]
%y = result %6 {order=(0, 1, 2)} : f32[b0][b1 m][e]
"""
SHAPES = [(2, 6, 3), (2, 20, 3), (2, 20, 2), (2, 2, 3, 4, 1), (2, 2, 3, 1, 5)]


def merged(text: str) -> Subgraph:
    before = parse_subgraph(text)
    verify_canonical(before)
    after = MergeAxes().run(before)
    verify_canonical(after)
    return after


def test_rows_and_keys_of_two_axes() -> None:
    after = merged(ATTENTION)
    assert list(after.axes) == ["b0", "m", "n", "d", "e"]
    assert after["5"].attrs["over"] == ("n",)
    assert after["c"].type.axes == ("b0", "m", "n")
    assert after["h"].type.dims == (("b0",), (), ("m",), ("n",), ())
    parts = Parts.of(after["h"].attrs)
    assert parts is not None
    assert parts.dims == (("b0",), ("m.0",), ("m.1",), ("n.0",), ())
    assert parts.is_index("n")
    assert not parts.is_index("m")
    assert parse_subgraph(print_subgraph(after)) == after


def test_the_meaning_stays() -> None:
    random = np.random.default_rng(0)
    call = [random.standard_normal(shape) for shape in SHAPES], list[float]()
    assert_same_meaning(parse_subgraph(ATTENTION), merged(ATTENTION), call)


STATIC = ATTENTION.replace("axis n0\naxis n1", "axis n0 = 4\naxis n1 = 5")


def test_sizes_that_are_known_are_multiplied() -> None:
    assert merged(STATIC).axes["n"] == 20


@pytest.mark.parametrize(
    ("old", "new", "axes"),
    [
        # keys across: a tensor has them the other way round, or apart
        ("f32[b0][b1][m][][n1]", "f32[b0][b1][m][n1][n0]", "b0 m n0 n1 d e"),
        ("f32[b0][b1][m][][n1]", "f32[n0][b0][b1][m][n1]", "b0 m n0 n1 d e"),
        # rows: a tensor lacks one, or the result has them in two dims
        ("f32[b0][b1][m][][n1]", "f32[b0][][m][][n1]", "b0 b1 m n d e"),
        (": f32[b0][b1 m][e]", ": f32[b0][b1][m][e]", "b0 b1 m n d e"),
    ],
)
def test_what_stands_apart_stays(old: str, new: str, axes: str) -> None:
    text = ATTENTION.replace(old, new)
    text = text.replace("(0, 1, 2)", "(0, 1, 2, 3)") if "b1][m][e]" in new else text
    assert list(MergeAxes().run(parse_subgraph(text)).axes) == axes.split()


def test_indices_along_one_of_the_axes_keep_it() -> None:
    text = ATTENTION.replace("%0 =", "%i = iota {axis=n0} : i32[n0]\n%0 =")
    assert "n0" in merged(text).axes


PIXELS = """
subgraph @image
axis b
axis g
axis c = 4
axis h
axis w
%x = parameter : f32[b][g c][h][w]
%s = parameter : f32[g c]
%0 = reduce %x {monoid=sum, over=(c, h, w)} : f32[b][g]
%1 = sub %x %0 : f32[b][g][c][h][w]
%2 = mul %1 %s : f32[b][g][c][h][w]
%r = result %2 {order=(0, 1, 2, 3)} : f32[b][g c][h][w]
"""


def test_pixels_that_a_reduction_goes_over() -> None:
    after = merged(PIXELS)
    assert list(after.axes) == ["b", "g", "c", "w"]
    assert after["0"].attrs["over"] == ("c", "w")
    random = np.random.default_rng(0)
    call = [random.standard_normal(shape) for shape in [(2, 8, 3, 5), (8,)]]
    assert_same_meaning(parse_subgraph(PIXELS), after, (call, list[float]()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{order=(0, 1, 2, 3)}", "{order=(0, 1, 3, 2)}"),  # the result has them the other way round
        ("%s = parameter : f32[g c]", "%s = parameter : f32[g c][h][]"),  # a tensor lacks one
        ("over=(c, h, w)} : f32[b][g]", "over=(c, w)} : f32[b][g][h]"),  # one of them stays
        ("axis h\naxis w", "axis h = 3\naxis w = 5"),  # they are numbers
    ],
)
def test_pixels_that_stand_apart_stay(old: str, new: str) -> None:
    assert "h" in merged(PIXELS.replace(old, new)).axes


LAYER = """
subgraph @layer
axis b
axis m
axis d
axis e
%x = parameter : f32[b][m][d]
%w = parameter : f32[e][d]
%h = parameter : f32[b][m][e]
%0 = brgemm %x %w {over=(d)} : f32[b][m][e]
%1 = add %0 %h : f32[b][m][e]
%r = result %1 {order=(0, 1, 2)} : f32[b][m][e]
"""


def test_rows_of_products_alone_may_be_several_dims() -> None:
    after = merged(LAYER)
    assert list(after.axes) == ["m", "d", "e"]
    assert after["r"].type.dims == ((), ("m",), ("e",))
    parts = Parts.of(after["r"].attrs)
    assert parts is not None
    assert parts.dims == (("m.0",), ("m.1",), ("e",))
    assert parse_subgraph(print_subgraph(after)) == after
    random = np.random.default_rng(0)
    call = [random.standard_normal(shape) for shape in [(2, 3, 4), (5, 4), (2, 3, 5)]]
    assert_same_meaning(parse_subgraph(LAYER), after, (call, list[float]()))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{order=(0, 1, 2)}", "{order=(1, 0, 2)}"),  # the result has them the other way round
        ("{order=(0, 1, 2)}", "{order=(0, 2, 1)}"),  # or apart
        ("%h = parameter : f32[b][m][e]", "%h = parameter : f32[][m][e]"),  # a tensor lacks one
        ("%w = parameter : f32[e][d]", "%w = parameter : f32[b][e][d]"),  # weights of their own
    ],
)
def test_rows_that_stand_apart_stay(old: str, new: str) -> None:
    assert "b" in merged(LAYER.replace(old, new)).axes


@examples
def test_axes_of_other_graphs_stay(example: str) -> None:
    before, after = before_and_after(MergeAxes, example)
    assert after == before or not before.of("reduce")
