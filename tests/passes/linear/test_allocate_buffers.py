"""AllocateBuffers: one scratchpad offset for each buffer, by graph colouring."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.errors import UnsupportedError
from snipjit.ir.call_args import CACHE_LINE
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear_buffers import check_buffers
from snipjit.passes.linear.allocate_buffers import AllocateBuffers, scratch_bytes
from tests.linear_examples import EXAMPLES, after, before_and_after

LIVES = """
linear @g lanes m x 4
axis m
axis n
input %x : f32[n][m]
output %y : f32[n][m] order 0 1
parallel m step 16 {
  buffer %c : f32[m:16]
  for m step 8 {
    %zero = fill {value=0.0} : f32[m]
    store %c %zero : f32[m]
  }
  for n step 8 {
    for m step 8 {
      buffer %r : f32[n:8][m:8]
      buffer %s : f32[n:8][m:8]
      buffer %t : f32[n:8][m:8]
      for n step 4 {
        %0 = load %x : f32[n m]
        store %s %0 : f32[n m]
      }
      for n step 4 {
        %1 = load %s : f32[n m]
        %2 = exp %1 : f32[n m]
        store %t %2 : f32[n m]
        store %r %1 : f32[n m]
      }
      %4 = load %c : f32[m]
      for n step 4 {
        %3 = load %t : f32[n m]
        %6 = load %r : f32[n m]
        %7 = mul %6 %3 : f32[n m]
        %5 = add %7 %4 : f32[n m]
        store %y %5 : f32[n m]
      }
      store %c %4 : f32[m]
    }
  }
}
"""


@pytest.mark.parametrize("name", EXAMPLES)
def test_buffers_fit_and_do_not_collide(name: str) -> None:
    check_buffers(after(name, AllocateBuffers))


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(AllocateBuffers(), LIVES))


def test_a_buffer_gives_its_place_to_one_written_where_it_is_last_read() -> None:
    lir = AllocateBuffers().run(parse_linear(LIVES))
    check_buffers(lir)
    offsets = {name: buffer.offset for name, buffer in lir.buffers().items()}
    assert offsets["s"] in (offsets["r"], offsets["t"])
    assert offsets["r"] != offsets["t"]
    assert offsets["c"] not in (offsets["r"], offsets["t"])


def test_offsets_are_aligned_and_the_scratchpad_is_their_end() -> None:
    lir = AllocateBuffers().run(parse_linear(LIVES))
    assert all((buffer.offset or 0) % CACHE_LINE == 0 for buffer in lir.buffers().values())
    assert scratch_bytes(lir) == 64 + 2 * 256


def test_a_scratchpad_above_the_limit_is_refused() -> None:
    text = LIVES.replace("[m:16]", "[m:1048576]")
    with pytest.raises(UnsupportedError, match="bytes of scratchpad a thread; at most 2097152"):
        AllocateBuffers().run(parse_linear(text))
