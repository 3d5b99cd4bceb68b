"""Canonical Subgraphs in a few words."""

from __future__ import annotations

import pytest

from snipjit.ir.description import describe
from snipjit.ir.text.subgraph import parse_subgraph

LINEAR = """subgraph @linear
axis m
axis d = 64
axis e = 128
%x = parameter : f32[m][d]
%w = parameter : f32[e][d]
%r = parameter : f32[m][e]
%0 = brgemm %x %w {over=(d)} : f32[m][e]
"""
ATTENTION = """subgraph @attention
axis b
axis g
axis m
axis n
axis d = 8
%q = parameter : f32[b g][m][d]
%k = parameter : f32[b][n][d]
%v = parameter : f32[b][n][d]
%0 = brgemm %q %k {over=(d)} : f32[b][g][m][n]
%1 = iota {axis=n} : i32[n]
%2 = iota {axis=m} : i32[m]
%3 = le %1 %2 : i1[m][n]
%4 = constant {value=-inf} : f32
%5 = where %3 %0 %4 : f32[b][g][m][n]
%6 = brgemm %5 %v {over=(n)} : f32[b][g][m][d]
%7 = reduce %5 {monoid=sum, over=(n)} : f32[b][g][m]
%8 = eq %7 %4 : i1[b][g][m]
%9 = result %6 {order=(0, 1, 2, 3)} : f32[b][g][m][d]
"""
NORM = """subgraph @normalization
axis m
axis d = 64
%x = parameter : f32[m][d]
%y = parameter : f32[m][d]
%0 = add %x %y : f32[m][d]
%1 = reduce %0 {monoid=sum, over=(d)} : f32[m]
%2 = sub %0 %1 : f32[m][d]
%3 = result %2 {order=(0, 1)} : f32[m][d]
"""
CHAIN = """subgraph @elementwise
axis m
%x = parameter : f32[m]
%0 = sigmoid %x : f32[m]
%1 = mul %0 %x : f32[m]
%2 = result %1 {order=(0)} : f32[m]
"""
RESULT = "%z = result {0} {{order=(0, 1)}} : f32[m][e]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LINEAR + RESULT.format("%0"), "linear 64→128"),
        (
            LINEAR + "%1 = erf %0 : f32[m][e]\n" + RESULT.format("%1"),
            "linear 64→128 gelu",
        ),
        (
            LINEAR + "%1 = add %0 %r : f32[m][e]\n" + RESULT.format("%1"),
            "linear 64→128 sum",
        ),
        (ATTENTION, "attention d8 causal gqa"),
        (ATTENTION.replace("axis d = 8", "axis d"), "attention d? causal gqa"),
        (NORM, "normalization 64 sum"),
        (CHAIN, "elementwise sigmoid mul"),
    ],
)
def test_words(text: str, words: str) -> None:
    assert describe(parse_subgraph(text)) == words
