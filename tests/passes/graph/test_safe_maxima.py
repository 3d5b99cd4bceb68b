"""SafeMaxima: only what is 0 exactly where a value is -inf gets the name."""

from __future__ import annotations

import numpy as np
import pytest

from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.passes.graph.safe_maxima import SafeMaxima
from tests.subgraph_calls import assert_same_meaning

TEXT = """
subgraph @g
axis m
%x = parameter : f32[m]
%z = parameter : f32[m]
%inf = constant {value=-inf} : f32
%low = constant {value=-3e+38} : f32
%zero = constant {value=0.0} : f32
%one = constant {value=1.0} : f32
%t = eq %x %inf : i1[m]
%y = where %t %zero %x : f32[m]
%r = result %y {order=(0)} : f32[m]
"""


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("", "", True),
        ("eq %x %inf", "eq %x %low", False),
        ("eq %x %inf", "eq %inf %x", False),
        ("eq %x %inf", "ne %x %inf", False),
        ("where %t %zero %x", "where %t %one %x", False),
        ("where %t %zero %x", "where %t %x %zero", False),
        ("where %t %zero %x", "where %t %zero %z", False),
    ],
)
def test_what_is_named(old: str, new: str, named: bool) -> None:
    before = parse_subgraph(TEXT.replace(old, new) if old else TEXT)
    after = SafeMaxima().run(before)
    assert (after["y"].op == "safe") == named
    x = np.array([-np.inf, np.inf, np.nan, 0.0, -3e38, 2.0])
    assert_same_meaning(before, after, ([x, x[::-1].copy()], []))
