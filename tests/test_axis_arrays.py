"""Axis sizes from shapes, and arrays by named axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from snipjit.errors import InputError
from snipjit.ir.axis_arrays import align, solve_axis_sizes, view_by_axes
from snipjit.ir.subgraph import Dim

AXES = {"b": None, "h": None, "g": None, "m": None, "d": 4}
Q: tuple[Dim, ...] = (("b",), ("h", "g"), ("m",), ("d",))
K: tuple[Dim, ...] = (("b",), ("h",), ("d",))


def sizes(*shapes: Sequence[int]) -> dict[str, int]:
    return solve_axis_sizes(AXES, [Q, K][: len(shapes)], shapes)


def test_products_are_solved_with_what_other_tensors_tell() -> None:
    assert sizes((2, 6, 5, 4), (2, 3, 4)) == {"b": 2, "h": 3, "g": 2, "m": 5, "d": 4}


def test_a_dim_of_size_one_may_broadcast() -> None:
    assert sizes((7, 6, 5, 4), (1, 3, 4))["b"] == 7
    assert sizes((1, 6, 5, 4), (7, 3, 4))["b"] == 7


def test_a_dim_of_size_one_that_need_not_broadcast_does_not() -> None:
    assert sizes((2, 6, 5, 4), (2, 1, 4)) == {"b": 2, "h": 1, "g": 6, "m": 5, "d": 4}


def test_an_axis_that_nothing_tells_has_size_one() -> None:
    assert solve_axis_sizes({"lane": None}, [], []) == {"lane": 1}


def test_nothing_times_anything_is_nothing() -> None:
    assert sizes((2, 0, 5, 4), (2, 0, 4))["h"] == 0


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 6, 5, 4), (3, 3, 4)), "dim 0 of tensor '#1' has size 3"),
        (((2, 6, 5, 8), (2, 3, 4)), "dim 3 of tensor '#0' has size 8"),
        (((2, 6, 5, 4), (2, 4, 4)), "dim 1 of tensor '#0' has size 6"),
        (((2, 6, 5, 4),), "dim 1 of tensor '#0' has size 6"),
        (((2, 6, 4),), "'#0' has rank 3"),
    ],
)
def test_what_does_not_fit(shapes: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sizes(*shapes)


def test_a_view_has_one_dimension_an_axis() -> None:
    array = np.arange(12.0).reshape(1, 6, 1, 2)
    found = {"b": 3, "h": 2, "g": 3, "m": 5, "d": 2}
    view = view_by_axes(array, Q, found)
    assert view.shape == (3, 2, 3, 5, 2)
    assert (view[1, 1, 2, 4] == array[0, 5, 0]).all()


def test_alignment_transposes_and_inserts() -> None:
    array = np.arange(6).reshape(2, 3)
    assert align(array, ("a", "b"), ("b", "c", "a")).tolist() == array.T.reshape(3, 1, 2).tolist()
    assert align(array, ("a", "b"), ("a", "b")) is array
    with pytest.raises(ValueError, match="an operand has axes b, which the result lacks"):
        align(array, ("a", "b"), ("a",))
