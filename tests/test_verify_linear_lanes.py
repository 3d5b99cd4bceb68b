"""What is no legal use of sums whose lanes are apart is told, with the place."""

from __future__ import annotations

import re

import pytest

from snipjit.errors import VerificationError
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify

LEGAL = """
linear @g lanes d x 4
axis m
axis e
axis d = 96
input %x : f32[m][d]
input %w : f32[e][d]
output %y : f32[m][e] order 0 1
parallel m step 1 {
  for e step 2 {
    %s.lanes = fill {value=0.0, apart=true} : f32[m e]
    for d step 16 {
      %x.tile = load %x : f32[m d]
      %w.tile = load %w : f32[e d]
      %s.lanes = fma %x.tile %w.tile %s.lanes {over=(d), apart=true} : f32[m e]
    }
    %s = sum_lanes %s.lanes : f32[m e]
    %t = exp %s : f32[m e]
    store %y %t : f32[m e]
  }
}
"""

FAULTS = [
    ("value=0.0", "value=1.0", "a sum whose lanes are apart begins with 0"),
    ("{value=0.0, apart=true}", "{value=0.0}", "%s.lanes keeps lanes apart elsewhere"),
    ("%t = exp %s :", "%t = exp %s.lanes :", "%s.lanes is one whose lanes are apart"),
    ("exp %s : f32[m e]", "sum_lanes %s : f32[m e]", "%s is no sum whose lanes are apart"),
    ("store %y %t", "store %y %s.lanes", "%s.lanes is one whose lanes are apart"),
]


def test_the_example_is_legal() -> None:
    verify(parse_linear(LEGAL))


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_faults(old: str, new: str, message: str) -> None:
    assert old in LEGAL
    with pytest.raises(VerificationError, match=re.escape(message)):
        verify(parse_linear(LEGAL.replace(old, new)))


def test_less_than_a_vector_of_the_result_leaves_lanes_free() -> None:
    verify(parse_linear(LEGAL.replace("lanes d x 4", "lanes e d x 4")))


def test_lanes_of_the_result_are_taken() -> None:
    columns = LEGAL.replace("lanes d x 4", "lanes e d x 4").replace("for e step 2", "for e step 4")
    with pytest.raises(VerificationError, match="lanes hold elements of the result"):
        verify(parse_linear(columns))
