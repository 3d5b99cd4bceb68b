"""Tests of ``snipjit/runtime/axis_sizes.py``."""

from __future__ import annotations

import pytest

from snipjit.errors import InputError
from snipjit.ir.axis_sizes import solve_axes, undetermined
from tests.runtime.workers import spec

AXES = (("b", None), ("hk", None), ("g", None), ("m", None), ("n", None), ("k", 64))
Q = spec("q", "b|hk g|m|k", strict=(3,))
K = spec("k", "b|hk|n|k", strict=(3,))
MASK = spec("mask", "b||m|n")


def solve(*shapes: tuple[int, ...]) -> dict[str, int]:
    return solve_axes(AXES, (Q, K, MASK)[: len(shapes)], shapes)


def test_products_are_solved_through_other_tensors() -> None:
    sizes = solve((2, 8, 31, 64), (2, 2, 50, 64), (2, 1, 31, 50))
    assert sizes == {"b": 2, "hk": 2, "g": 4, "m": 31, "n": 50, "k": 64}


def test_size_one_broadcasts() -> None:
    sizes = solve((2, 8, 31, 64), (1, 2, 50, 64), (1, 1, 1, 1))
    assert sizes == {"b": 2, "hk": 2, "g": 4, "m": 31, "n": 50, "k": 64}
    assert solve((1, 8, 1, 64), (3, 8, 5, 64), (1, 1, 7, 5))["m"] == 7


def test_size_one_counts_where_nothing_else_tells() -> None:
    sizes = solve((1, 8, 1, 64), (1, 1, 1, 64), (1, 1, 1, 1))
    assert sizes == {"b": 1, "hk": 1, "g": 8, "m": 1, "n": 1, "k": 64}


def test_an_axis_of_no_tensor_has_size_one() -> None:
    assert solve_axes((("x", None), ("y", None)), (spec("a", "x"),), ((3,),)) == {"x": 3, "y": 1}


def test_empty_dims() -> None:
    assert solve((0, 8, 5, 64), (0, 2, 3, 64), (0, 1, 5, 3))["b"] == 0
    assert solve((2, 8, 5, 64), (2, 2, 0, 64), (2, 1, 1, 1))["n"] == 0
    assert solve((2, 0, 5, 64), (2, 0, 3, 64))["hk"] == 0


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 8, 31, 32), (2, 2, 50, 64)), r"dim 3 of tensor 'q' has size 32.*\[k=64\]"),
        (((2, 8, 31, 1), (2, 2, 50, 64)), r"dim 3 of tensor 'q' has size 1.*\[k=64\]"),
        (((2, 8, 31, 64), (3, 2, 50, 64)), r"dim 0 of tensor 'k' has size 3.*\[b=2\]"),
        (((2, 8, 31, 64), (2, 3, 50, 64)), r"dim 1 of tensor 'q' has size 8.*\[hk=3 g=2\]"),
        (((2, 8, 31, 64), (2, 2, 50)), r"tensor 'k' has rank 3.*rank 4"),
        (((2, 8, 31, 64), (2, 2, 50, 64), (2, 4, 31, 50)), r"dim 1 of tensor 'mask'"),
        (((2, 8, 31, 64), (2, 0, 50, 64)), r"tensor 'q' has size 8"),
    ],
)
def test_sizes_that_do_not_agree(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        solve(*shapes)


def test_strict_dims_do_not_broadcast() -> None:
    pair = (spec("k", "n|k", strict=(0,)), spec("v", "n|k", strict=(0,)))
    with pytest.raises(InputError, match=r"dim 0 of tensor 'v' has size 1.*\[n=5\]"):
        solve_axes((("n", None), ("k", None)), pair, ((5, 3), (1, 3)))


def test_factors_that_nothing_tells_apart() -> None:
    with pytest.raises(InputError, match=r"\[x=\? y=\?\]"):
        solve_axes((("x", None), ("y", None)), (spec("a", "x y"),), ((6,),))


def test_undetermined_axes() -> None:
    axes = (("b", None), ("h", None), ("g", None), ("d", None))
    assert undetermined(axes, [(("b",), ("h", "g")), (("h",),)]) == []
    assert undetermined(axes, [(("b",), ("h", "g"))]) == ["g", "h"]
    assert undetermined((*axes[:3], ("d", 8)), [(("h", "d"), ("b",))]) == []
