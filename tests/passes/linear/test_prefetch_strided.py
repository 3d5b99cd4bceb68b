"""PrefetchStrided: rows far apart in memory are asked for before work that hides their way."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from snipjit.compiler import emit
from snipjit.ir.expression import Expression
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.prefetch_strided import PrefetchStrided
from tests.kernels import TARGETS
from tests.linear_examples import before_and_after, final

BIAS = """
linear @g lanes m x 4
axis m
axis n
axis d
input %q : f32[d][m]
input %k : f32[d][n]
input %b : f32[m][n]
input %c : f32[n][m]
output %y : f32[n][m] order 0 1
parallel m step 16 {
  for m step 8 {
    for n step 4 {
      %early = load %b : f32[n m]
      %s = fill {value=0.0} : f32[n m]
      for d step 1 {
        %q.tile = load %q : f32[d m]
        %k.tile = load %k : f32[n d]
        %s = fma %k.tile %q.tile %s {over=(d)} : f32[n m]
      }
      %b.tile = load %b : f32[n m]
      %c.tile = load %c : f32[n m]
      %t = add %s %b.tile : f32[n m]
      %u = add %t %c.tile : f32[n m]
      %v = add %u %early : f32[n m]
      store %y %v : f32[n m]
    }
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(PrefetchStrided(), BIAS))


def test_only_strided_lanes_behind_a_loop() -> None:
    lir = PrefetchStrided().run(parse_linear(BIAS))
    asked = [s for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "prefetch"]
    assert [e.inputs for e in asked] == [("b",)]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_row_is_one_instruction(target: object) -> None:
    row = next(row for row in TARGETS.values() if row is target)
    lir = final("attention_bias", row)
    tiles = [e for e, _ in lir.walk() if isinstance(e, Expression) and e.op == "prefetch"]
    assert tiles
    lines = emit(lir, row).count('call void @"llvm.prefetch.p0"')
    assert lines % row.lanes == 0
    assert lines >= len(tiles) * row.lanes


def test_a_tensor_without_lanes_is_asked_for_once() -> None:
    """Row by row, also where lanes are masked: nothing is asked for once a lane."""
    lir = final("attention_bias", TARGETS["portable"])
    whole = emit(lir, TARGETS["portable"]).count("llvm.prefetch.p0")
    text = print_linear(lir)
    load = next(line for line in text.splitlines() if "= load %p1 :" in line)
    asked = "prefetch" + load.split("= load")[1]
    emitted = emit(parse_linear(text.replace(load, f"{asked}\n{load}")), TARGETS["portable"])
    rows = [int(step) for step in re.findall(r"for n step (\d+)", text)]
    assert 0 < emitted.count("llvm.prefetch.p0") - whole <= text.count(load) * max(rows)
