"""InsertLoadStore: every operand that is memory is loaded by an Expression of its own."""

from __future__ import annotations

from collections.abc import Callable

from snipjit.ir.expression import Expression
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.insert_load_store import InsertLoadStore
from tests.linear_examples import before_and_after

MASKED = """
linear @g lanes m x 4
axis m
axis n
input %s : f32[n][m]
input %mask : f32[n]
output %y : f32[n][m] order 0 1
output %copy : f32[n] order 0
parallel m step 16 {
  for n step 4 {
    store %copy %mask : f32[n]
    for m step 8 {
      %t = add %s %mask : f32[n m]
      %u = mul %t %mask : f32[n m]
      store %y %u : f32[n m]
    }
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(InsertLoadStore(), MASKED))


def test_one_load_serves_all_readers_of_a_body() -> None:
    lir = InsertLoadStore().run(parse_linear(MASKED))
    loads = [s.inputs[0] for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "load"]
    assert loads == ["mask", "s", "mask"]
