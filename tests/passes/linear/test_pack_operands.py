"""PackOperands: what the schedule has packed is brought into the order of its use once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Statement
from snipjit.ir.loop_nest import task_body
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.pack_operands import PackOperands
from tests.linear_examples import before_and_after

PRODUCT = """
linear @g lanes m x 4
axis b : batch task 1 tile 4 unroll 2
axis m : rows task 16 tile 4 unroll 2
axis n : stream block 8 tile 4 unroll 2
axis d = 8 : contraction tile 4 unroll 2
input %q : f32[b][m][d]
input %k : f32[b][n][d]
output %y : f32[b][n][m] order 0 1 2
parallel b step 1 {
  parallel m step 16 {
    for n step 8 {
      %s = brgemm %q %k {over=(d), read=(task, place)} : f32[b n m]
      store %y %s : f32[b n m]
    }
  }
}
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(PackOperands(), PRODUCT))


def loads(body: list[Statement]) -> list[str]:
    return [s.inputs[0] for s in body if isinstance(s, Expression) and s.op == "load"]


def packed(read: str) -> LinearIR:
    return PackOperands().run(parse_linear(PRODUCT.replace("(task, place)", read)))


@pytest.mark.parametrize(
    ("read", "task", "block"),
    [
        ("(place, place)", [], []),
        ("(task, place)", ["q"], []),
        ("(place, block)", [], ["k"]),
        ("(task, block)", ["q"], ["k"]),
    ],
)
def test_operands_are_loaded_where_the_schedule_says(
    read: str, task: list[str], block: list[str]
) -> None:
    body = task_body(packed(read))
    assert loads(body) == task
    stream = body[-1]
    assert not isinstance(stream, Expression)
    assert loads(list(getattr(stream, "body", []))) == block
    (product,) = (e for e in packed(read).expressions() if e.op == "brgemm")
    assert "read" not in product.attrs
