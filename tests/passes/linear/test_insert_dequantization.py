"""InsertDequantization: what a load makes of integers is written out behind it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.errors import VerificationError
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.insert_dequantization import InsertDequantization
from tests.linear_examples import before_and_after

LAYER = """
linear @g lanes k x 4
axis m
axis n
axis k = 8
input %x : f32[m][k]
input %w : u8[n][k] then sub %z then mul %s
input %z : u8[n]
input %s : f32[n][k] parts [n][k.0] of k [k.0 k.1] with k.0 = 2 with k.1 = 4
scalar %t
output %y : f32[m][n] order 0 1
for m step 2 {
  for n step 2 {
    %0 = fill {value=0.0} : f32[m n]
    for k step 8 {
      %x.tile = load %x : f32[m k]
      %w.tile = load %w : f32[n k]
      %0 = fma %x.tile %w.tile %0 {over=(k)} : f32[m n]
    }
    store %y %0 : f32[m n]
  } tail 1 {
    %0 = fill {value=0.0} : f32[m n]
    for k step 8 {
      %x.tile = load %x : f32[m k]
      %w.tile = load %w : f32[n k]
      %0 = fma %x.tile %w.tile %0 {over=(k)} : f32[m n]
    }
    store %y %0 : f32[m n]
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(InsertDequantization(), LAYER))


def test_what_loads_compute_is_read_back() -> None:
    lir = parse_linear(LAYER)
    verify(lir)
    assert parse_linear(print_linear(lir)) == lir


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("then sub %z", "then tanh %z", "%w is loaded with tanh; one of sub, add, mul, div"),
        ("then sub %z", "then sub %q", "%w is loaded with %q, which is no input and no scalar"),
        ("then sub %z", "then sub %x", "%w is loaded with %x, which has other axes"),
        ("order 0 1", "order 0 1 then sub %z", "%y is loaded with functions, but it is an output"),
    ],
)
def test_what_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(VerificationError, match=message.replace("%", ".")):
        verify(parse_linear(LAYER.replace(old, new)))


def test_in_the_end_nothing_is_left() -> None:
    with pytest.raises(VerificationError, match="write them out"):
        verify(parse_linear(LAYER), final=True)
