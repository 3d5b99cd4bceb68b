"""ExtractLoopInvariants: what does not change in a loop is done in front of it."""

from __future__ import annotations

from collections.abc import Callable

from snipjit.ir.expression import Expression
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.extract_loop_invariants import ExtractLoopInvariants
from tests.linear_examples import before_and_after

BIAS = """
linear @g lanes m x 4
axis m
axis n
input %s : f32[n][m]
input %b : f32[m]
output %y : f32[n][m] order 0 1
output %z : f32[m] order 0
scalar %scale
parallel m step 16 {
  for m step 8 {
    %l = fill {value=0.0} : f32[m]
    for n step 4 {
      %half = fill {value=0.5} : f32[]
      %factor = mul %half %scale : f32[]
      %i = iota {axis=n} : i32[n]
      %j = to_f32 %i : f32[n]
      %b.tile = load %b : f32[m]
      %c = mul %b.tile %factor : f32[m]
      %s.tile = load %s : f32[n m]
      %t = add %s.tile %c : f32[n m]
      %u = mul %t %j : f32[n m]
      store %y %u : f32[n m]
      %l = add %l %c : f32[m]
    }
    store %z %l : f32[m]
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(ExtractLoopInvariants(), BIAS))


def depth(text: str) -> dict[str | None, int]:
    lir = ExtractLoopInvariants().run(parse_linear(text))
    return {s.output: len(loops) for s, loops in lir.walk() if isinstance(s, Expression)}


def test_what_has_the_loops_axis_or_accumulates_stays() -> None:
    depths = depth(BIAS)
    assert {name: depths[name] for name in ("half", "factor")} == {"half": 1, "factor": 1}
    assert {name: depths[name] for name in ("b.tile", "c")} == {"b.tile": 2, "c": 2}
    assert {depths[name] for name in ("i", "j", "s.tile", "t", "u", "l")} == {3}


def test_loads_of_memory_that_the_loop_writes_stay() -> None:
    text = """
    linear @g lanes m x 4
    axis m
    axis n
    input %s : f32[n][m]
    output %y : f32[m] order 0
    parallel m step 16 {
      buffer %l : f32[m:16]
      for m step 8 {
        %zero = fill {value=0.0} : f32[m]
        store %l %zero : f32[m]
      }
      for n step 1 {
        for m step 8 {
          %old = load %l : f32[m]
          %s.tile = load %s : f32[n m]
          %new = add %s.tile %old : f32[n m]
          store %l %new : f32[n m]
        }
      }
      for m step 8 {
        %all = load %l : f32[m]
        store %y %all : f32[m]
      }
    }
    """
    assert depth(text)["old"] == 3
