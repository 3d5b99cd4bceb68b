from __future__ import annotations

import pytest

from snipjit.errors import UnsupportedError
from snipjit.passes.graph.axis_unification import AxisUnification


def _axes(**sizes: int | None) -> AxisUnification:
    return AxisUnification({**dict.fromkeys("abcdefgh"), **sizes})


def test_an_axis_becomes_a_product() -> None:
    axes = _axes()
    axes.unify(("h",), ("a", "b"))
    axes.unify(("c",), ("h",))
    assert axes.resolve(("c", "d")) == ("a", "b", "d")


def test_products_are_compared_from_both_ends() -> None:
    axes = _axes()
    axes.unify(("a", "b", "c"), ("a", "d", "c"))
    assert axes.resolve(("b",)) == axes.resolve(("d",))


def test_equal_static_ends_of_products_are_the_same() -> None:
    axes = _axes(b=64, d=64)
    axes.unify(("a", "c", "b"), ("e", "d"))
    assert axes.resolve(("e", "d")) == axes.resolve(("a", "c", "b"))


def test_products_of_equally_many_factors_agree_factor_by_factor() -> None:
    axes = _axes()
    axes.unify(("a", "b"), ("c", "d"))
    assert axes.resolve(("a", "b")) == axes.resolve(("c", "d"))


def test_an_axis_that_equals_nothing_has_size_1() -> None:
    axes = _axes(b=1)
    axes.unify(("a", "b"), ())
    assert axes.resolve(("a", "b")) == ()


def test_a_static_size_spreads_to_the_only_dynamic_factor() -> None:
    axes = _axes(h=32, b=8)
    axes.unify(("h",), ("a", "b"))
    assert axes.size(axes.resolve(("a",))[0]) == 4


@pytest.mark.parametrize(
    ("left", "right", "sizes"),
    [
        (("a", "b"), ("c", "d", "e"), {}),
        (("a",), ("b",), {"a": 3, "b": 4}),
        (("a",), ("b", "c"), {"a": 12}),
        (("a",), ("b", "c"), {"a": 12, "b": 5}),
        (("a",), (), {"a": 2}),
    ],
)
def test_no_unique_solution_is_an_error(
    left: tuple[str, ...], right: tuple[str, ...], sizes: dict[str, int]
) -> None:
    with pytest.raises(UnsupportedError):
        _axes(**sizes).unify(left, right)
