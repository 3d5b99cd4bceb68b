"""What is no legal claim of a task is told, with the place."""

from __future__ import annotations

import pytest

from snipjit.errors import VerificationError
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify

LEGAL = """
linear @g lanes n x 4
axis m
axis n
input %x : f32[m][n]
output %y : f32[m][n] order 0 1
parallel n step 16 {
  for n step 8 {
    claim {axes=(n)} : f32[]
    for m step 2 {
      %t = load %x : f32[m n]
      store %y %t : f32[m n]
    }
  }
}
"""

FAULTS = [
    ("for n step 8", "for m step 8", "a claim stands in a loop over panels of a task"),
    ("parallel n step 16", "for n step 16", "a claim stands in a loop over panels of a task"),
    ("parallel n step 16", "parallel m step 16", "tasks have no part of axis n"),
]


def test_the_example_is_legal() -> None:
    verify(parse_linear(LEGAL))


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_faults(old: str, new: str, message: str) -> None:
    assert old in LEGAL
    with pytest.raises(VerificationError, match=message):
        verify(parse_linear(LEGAL.replace(old, new)))


def test_one_loop_claims() -> None:
    begin, end = LEGAL.index("  for n step 8"), LEGAL.rindex("}")
    twice = LEGAL[:end] + LEGAL[begin:end] + LEGAL[end:]
    with pytest.raises(VerificationError, match="a task claims one other"):
        verify(parse_linear(twice))
