"""What is no legal use of pairs and tile registers is told, with the place."""

from __future__ import annotations

import re

import pytest

from snipjit.compiler import lower
from snipjit.errors import VerificationError
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.allocate_buffers import AllocateBuffers
from snipjit.passes.linear.init_loops import InitLoops
from snipjit.passes.linear.insert_specific_iterations import InsertSpecificIterations
from tests.test_pairs import TILED, attention

LEGAL = """
linear @g lanes m x 4
axis m
axis n
axis d = 16
input %q : bf16[m][d]
input %k : bf16[n][d]
output %y : f32[n][m] order 0 1
parallel m step 8 {
  buffer %q.buffer : bf16[d:16][m:8] pairs d
  for m step 8 {
    for d step 4 {
      %q.packed = load %q : bf16[d m] pairs d
      store %q.buffer %q.packed : bf16[d m] pairs d
    }
    pad %q.buffer {axis=d, to=8} : bf16[d m] pairs d
  }
  for n step 8 {
    buffer %s.buffer : f32[n:8][m:8]
    for m step 8 {
      %s = fill {value=0.0, registers=(0)} : f32[n m]
      for d step 8 {
        %q.row = load %q.buffer {registers=(1)} : bf16[d m] pairs d
        %k.row = load %k {registers=(2)} : bf16[n d] pairs d
        %s = fma %k.row %q.row %s {over=(d), pairs=d, tiles=true, registers=(0)} : f32[n m]
      }
      store %s.buffer %s {registers=(0)} : f32[n m]
      %t = load %s.buffer : f32[n m]
      %u = exp %t : f32[n m]
      store %y %u : f32[n m]
    }
  }
}
"""


def test_the_example_is_legal() -> None:
    verify(parse_linear(LEGAL))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[m:8] pairs d", "[m:8] pairs n", "pairs are of bf16 elements along axis n"),
        (
            "%t = load %s.buffer : f32[n m]",
            "%t = load %s.buffer : f32[n m] pairs n",
            "of bf16 elements",
        ),
        (
            "%u = exp %t : f32[n m]",
            "%u = exp %t : f32[n m] ; %w = exp %q.row : bf16[d m]",
            "%q.row holds pairs of axis d, not no pairs",
        ),
        (
            "%u = exp %t : f32[n m]",
            "%u = exp %t : f32[n m] ; %w = brgemm %t %t {over=(n), tiles=true} : f32[m]",
            "a product in tiles is one of pairs",
        ),
        ("pairs=d, tiles=true", "pairs=n, tiles=true", "a product of pairs is over their axis"),
        (
            "store %q.buffer %q.packed : bf16[d m] pairs d",
            "store %q.buffer %q.packed : bf16[d m]",
            "holds pairs of axis d, not no pairs",
        ),
        (
            "%u = exp %t : f32[n m]",
            "%u = exp %t {registers=(0)} : f32[n m]",
            "exp has no attributes registers",
        ),
        (
            "%u = exp %t : f32[n m]",
            "%u = exp %t {precision=f32} : f32[n m]",
            "the only other precision is bf16",
        ),
        ("%u = exp %t", "%u = exp %s", "exp reads both tile registers and others"),
        (
            "store %s.buffer %s {registers=(0)}",
            "store %s.buffer %s {registers=(1)}",
            "%s is in other tile registers",
        ),
        (
            "store %s.buffer %s {registers=(0)}",
            "store %s.buffer %s",
            "store reads both tile registers and others",
        ),
        (
            "%k.row = load %k {registers=(2)} : bf16[n d] pairs d",
            "%k.row = load %k {registers=(2)} : f32[n d]",
            "%k.row holds no pairs, not pairs of axis d",
        ),
        (
            "%q.row = load %q.buffer {registers=(1)}",
            "%q.row = load %q.buffer {registers=(2)}",
            "tile register 2 holds %k.row, not %q.row",
        ),
        ("{axis=d, to=8}", "{axis=n, to=8}", "%q.buffer has no axis n to pad"),
        ("pad %q.buffer {axis=d, to=8} : bf16[d m]", "pad %q {axis=d, to=8} : bf16[d m]", "%q"),
    ],
)
def test_what_is_not(old: str, new: str, message: str) -> None:
    assert old in LEGAL
    with pytest.raises(VerificationError, match=re.escape(message)):
        verify(parse_linear(LEGAL.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("for d step 4 {", "for d step 3 {", "axis d goes by pairs: even steps"),
        ("buffer %q.buffer : bf16[d:16]", "buffer %q.buffer : bf16[d:17]", "even part of axis d"),
        ("for d step 8 {", "for d step 8 masked {", "would go beyond the end of %k"),
    ],
)
def test_what_is_not_in_the_end(old: str, new: str, message: str) -> None:
    lir = parse_linear(LEGAL.replace(old, new))
    for step in (AllocateBuffers(), InsertSpecificIterations(), InitLoops()):
        lir = step.run(lir)
    with pytest.raises(VerificationError, match=re.escape(message)):
        verify(lir, final=True)


def test_what_goes_beyond_the_end_ends_within_its_buffer() -> None:
    lir = lower(attention("usual", 8, 10), TILED)
    verify(lir, final=True)
    for buffer in lir.buffers().values():
        if buffer.name == "o.buffer":
            buffer.extents["e"] = 10
    with pytest.raises(VerificationError, match=r"%o\.buffer holds 10 of axis e, no multiple of 4"):
        verify(lir, final=True)
