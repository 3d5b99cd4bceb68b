"""Tokens and attributes of the printed IRs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snipjit.errors import ParseError
from snipjit.ir.text.tokens import Tokens, print_attr, print_attrs

NAMES = st.text("abcxyz_0189.-+e", min_size=1)
ATOMS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    NAMES,
    st.sampled_from(["inf", "nan", "true", "none", "12", "1e5", "a b", "", "(", "%", "#x"]),
)


@given(st.recursive(ATOMS, lambda inner: st.lists(inner).map(tuple), max_leaves=8))
def test_attributes_are_read_as_they_were(value: Any) -> None:
    text = print_attrs({"name": value})
    read = Tokens(text).attrs()["name"]
    assert read == value
    assert str(read) == str(value)
    assert print_attrs({"name": read}) == text


def test_the_undefined_number_is_read_as_one() -> None:
    assert print_attr(math.nan) == "nan"
    assert Tokens("{value=nan}").attrs() == {"value": math.nan}


def test_attributes_print_without_noise() -> None:
    attrs = {"monoid": "max", "over": ("n", "d"), "value": -math.inf, "keep": True, "order": (1, 0)}
    assert print_attrs(attrs) == " {monoid=max, over=(n, d), value=-inf, keep=true, order=(1, 0)}"
    assert print_attrs({}) == ""


def test_comments_semicolons_and_line_breaks_are_free() -> None:
    tokens = Tokens("a # the rest = {\n ; b;c")
    assert [tokens.next().text for _ in range(3)] == ["a", "b", "c"]
    assert tokens.done
    assert tokens.peek() == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a 1}", "line 1: expected '=', found '1'"),
        ("{a=1\n b=2}", "line 2: expected ',', found 'b'"),
        ("{a=(1, 2", "line 1: expected ',', found the end"),
        ("{a=}", "line 1: expected a value, found '}'"),
        ('{a="x\n}', "line 1: cannot read '\"'"),
        ("{=1}", "line 1: expected an attribute or '}', found '='"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ParseError) as error:
        Tokens(text).attrs()
    assert str(error.value).startswith(message)


def test_errors_show_the_line() -> None:
    tokens = Tokens("first\nsecond x\nthird")
    assert tokens.accept("first", "second")
    with pytest.raises(ParseError, match="line 2: expected an integer, found 'x'\n  second x"):
        tokens.integer("an integer")
