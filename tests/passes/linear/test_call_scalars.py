"""CallScalars: numbers are computed, scalars of the call get Expressions, the rest is unknown."""

from __future__ import annotations

import math

import pytest

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.text.linear import print_statement
from snipjit.passes.linear.call_scalars import CallScalars, Scalar

WHOLE = ValueType("i32")


def scalars() -> CallScalars:
    made = [
        Expression("scalar", "s", ()),
        Expression("fill", "two", (), attrs={"value": 2.0}),
        Expression("fill", "three", (), WHOLE, {"value": 3}),
        Expression("to_f32", "whole", ("three",)),
        Expression("mul", "six", ("two", "whole")),
        Expression("sub", "less", ("s", "six")),
        Expression("load", "cell", ("x",)),
        Expression("add", "other", ("cell", "s")),
        Expression("fill", "row", (), ValueType("f32", ("m",)), {"value": 0.0}),
    ]
    return CallScalars({**{e.output or "": e for e in made}, "sum": None})


@pytest.mark.parametrize(
    ("name", "value"),
    [("s", "s"), ("two", 2.0), ("six", 6.0), ("less", "less.again"), ("other", None),
     ("row", None), ("sum", None), ("unknown", None)],
)  # fmt: skip
def test_reading(name: str, value: Scalar | None) -> None:
    assert scalars().read(name) == value


def test_numbers_are_those_of_float32() -> None:
    assert scalars().apply("add", [16777216.0, 1.0], "f32", "x") == 16777216.0
    assert scalars().apply("mul", [-3e38, 2.0], "f32", "x") == -math.inf
    assert scalars().apply("le", [1.0, 2.0], "i1", "x") is True


def test_only_what_is_used_is_kept_and_nothing_twice() -> None:
    known = scalars()
    half = known.apply("mul", ["s", 0.5], "f32", "half")
    assert known.apply("mul", ["s", 0.5], "f32", "same") == half
    known.apply("mul", ["s", 0.25], "f32", "half")
    user = Expression("neg", "y", (known.register(half),))
    texts = [print_statement(statement) for statement in known.needed([user])]
    assert texts == [
        "%number.0 = fill {value=0.5} : f32[]",
        "%half = mul %s %number.0 : f32[]",
    ]
