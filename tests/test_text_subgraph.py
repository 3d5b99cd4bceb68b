from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snipjit.errors import ParseError
from snipjit.ir.subgraph import Node, Subgraph, TensorType
from snipjit.ir.text.subgraph import around, parse_subgraph, print_subgraph
from tests.subgraphs import ALL, attention

TEXT = """\
subgraph @g
axis b
axis d = 64
%q = parameter {ones=(0, 2)} : f32[b][][d b2]
%c = constant {value=-inf} : f32
%o = result %q {order=(2, 0, 1)} : f32[b][][d b2]
"""


@pytest.mark.parametrize("example", ALL)
def test_examples_read_back(example: str) -> None:
    subgraph = ALL[example]()
    again = parse_subgraph(print_subgraph(subgraph))
    assert again == subgraph
    assert list(again.axes) == list(subgraph.axes)


def test_a_text_prints_as_it_was_read() -> None:
    assert print_subgraph(parse_subgraph(TEXT)) == TEXT


def test_comments_and_blank_lines_are_skipped() -> None:
    assert parse_subgraph("# edited by hand\n\n" + TEXT.replace("\n", "  # here\n")) == (
        parse_subgraph(TEXT)
    )


atoms = st.one_of(
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False),
    st.sampled_from(["larger", "zero", "true", "inf", "1.5", "q0", "two words"]),
)


@given(st.recursive(atoms, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5))
def test_attributes_read_back_exactly(value: object) -> None:
    node = Node("x", "constant", (), TensorType("f32"), {"value": value})
    again = parse_subgraph(print_subgraph(Subgraph("g", {}, (node,))))
    assert repr(again["x"].attrs) == repr(node.attrs)


def test_nan_reads_back() -> None:
    node = Node("x", "constant", (), TensorType("f32"), {"value": math.nan})
    again = parse_subgraph(print_subgraph(Subgraph("g", {}, (node,))))
    assert math.isnan(again["x"].attrs["value"])


def test_around_marks_the_fault() -> None:
    subgraph = attention()
    text = around(subgraph, subgraph.nodes[5], context=1)
    assert [line[0] for line in text.splitlines()] == [" ", ">", " "]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "graph @g",
        "subgraph @g\naxis b = x",
        "subgraph @g\n%x = parameter",
        "subgraph @g\n%x = parameter : f64[b]",
        "subgraph @g\n%x = parameter {ones=(1, : f32",
        "subgraph @g\nx = parameter : f32",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="line"):
        parse_subgraph(text)
