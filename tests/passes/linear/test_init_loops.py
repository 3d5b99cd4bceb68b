"""InitLoops: which tensors each loop advances, by how much, and what it rewinds."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from snipjit.ir.linear_ir import STRIDE, Loop, LoopPort
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.init_loops import InitLoops
from tests.linear_examples import EXAMPLES, after, before_and_after

TRANSPOSE = """
linear @g lanes m x 4
axis m
axis n
input %x : f32[m][n]
input %b : f32[m]
output %y : f32[n][m] order 0 1
parallel m step 16 {
  for m step 8 masked {
    buffer %s : f32[n:8][m:8] at 0
    %0 = load %b : f32[m]
    for n step 8 {
      for n step 4 {
        %1 = load %x : f32[n m]
        store %s %1 : f32[n m]
      } tail 1 {
        %1 = load %x : f32[n m]
        store %s %1 : f32[n m]
      }
      for n step 1 {
        %2 = load %s : f32[n m]
        %3 = add %2 %0 : f32[n m]
        store %y %3 : f32[n m]
      }
    }
  } tail 4 masked {
    %0 = load %b : f32[m]
    for n step 1 {
      %2 = load %x : f32[n m]
      %3 = add %2 %0 : f32[n m]
      store %y %3 : f32[n m]
    }
  }
}
"""


@pytest.mark.parametrize("name", EXAMPLES)
def test_emission_gets_what_it_needs(name: str) -> None:
    verify(after(name, InitLoops), final=True)


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(InitLoops(), TRANSPOSE))


def ports(text: str) -> list[list[LoopPort]]:
    """The ports of every body, outer loops first."""
    lir = InitLoops().run(parse_linear(text))
    loops = [s for s, _ in lir.walk() if isinstance(s, Loop)]
    return [piece.ports for loop in loops for piece in loop.pieces]


def test_increments_are_known_for_buffers_and_innermost_axes() -> None:
    main, tail = ports(TRANSPOSE)[4:6]
    assert main == [LoopPort("x", 1), LoopPort("s", 8)]
    assert tail == [LoopPort("x", 1, rewind=True), LoopPort("s", 8, rewind=True)]


def test_other_increments_arrive_with_the_call() -> None:
    (parallel,) = ports(TRANSPOSE)[:1]
    assert [(port.tensor, port.ptr_increment) for port in parallel] == [
        ("b", 1),
        ("x", STRIDE),
        ("y", 1),
    ]


def test_a_buffer_declared_inside_does_not_move() -> None:
    assert all(port.tensor != "s" for port in ports(TRANSPOSE)[1])


def test_running_it_again_changes_nothing() -> None:
    once = InitLoops().run(parse_linear(TRANSPOSE))
    assert InitLoops().run(copy.deepcopy(once)) == once
