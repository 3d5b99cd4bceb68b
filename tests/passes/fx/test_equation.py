from __future__ import annotations

import doctest

import pytest

from snipjit.passes.fx.lift import equation
from snipjit.passes.fx.lift.equation import Equation
from snipjit.passes.fx.nodes.refused import RefusedError


def test_docstring() -> None:
    assert doctest.testmod(equation).failed == 0


def test_implicit_result_is_sorted() -> None:
    assert Equation.of("bqd,bkd", 3, 3).result == ("k", "q")
    assert Equation.of("...qd,...kd", 4, 3).result == (".2", ".1", "k", "q")


def test_labels_in_the_order_of_the_result() -> None:
    e = Equation.of("bqhgd,bkhd->bhgqk", 5, 4)
    assert (e.batch, e.left_only, e.right_only, e.summed) == (
        ("b", "h"),
        ("g", "q"),
        ("k",),
        ("d",),
    )
    assert e.flipped().left_only == ("k",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bqd,bkd,bk->bqk", "has 3 operands; accepted: two"),
        ("bqq,bqk->bk", "has a label twice"),
        ("bqd,bkd->bk", "sums over a label of one operand"),
    ],
)
def test_near_misses(text: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        Equation.of(text, 3, 3)
