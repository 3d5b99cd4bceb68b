"""MarkLoops: parallel loops, and one loop over the streamed axis for each level of reductions."""

from __future__ import annotations

from collections.abc import Callable

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop
from snipjit.ir.schedule import Schedule
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.passes.linear.mark_loops import MarkLoops
from snipjit.target.candidates import candidate
from tests.linear_examples import TINY, after, before_and_after

ROWS = candidate(TINY, Schedule.ROWS)

SOFTMAX = """
linear @g lanes m x 4
axis b : batch task 1 tile 4 vectors 8 unroll 2
axis m : rows task 16 panel 8 tile 4 vectors 8 unroll 2
axis n : stream block 8 tile 4 vectors 8 unroll 2
axis d = 8 : contraction tile 4 vectors 8 unroll 2
input %q : f32[b][m][d]
input %k : f32[b][n][d]
output %y : f32[b][m][n] order 0 1 2
%s = brgemm %q %k {over=(d)} : f32[b n m]
%x = reduce %s {monoid=max, over=(n)} : f32[b m]
%c = sub %s %x : f32[b n m]
%p = exp %c : f32[b n m]
%l = reduce %p {monoid=sum, over=(n)} : f32[b m]
%o = div %p %l : f32[b n m]
store %y %o : f32[b n m]
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    golden(before_and_after(MarkLoops(), SOFTMAX))


def loops_of(lir: LinearIR) -> list[tuple[str, int, bool]]:
    return [(s.axis, s.step, s.parallel) for s, _ in lir.walk() if isinstance(s, Loop)]


def test_a_level_for_every_reduction_that_waits_for_another() -> None:
    lir = MarkLoops().run(parse_linear(SOFTMAX))
    batch, lanes = ("b", 1, True), ("m", ROWS.task, True)
    assert loops_of(lir) == [batch, lanes, *[("n", ROWS.block, False)] * 3]


def test_later_levels_compute_streamed_values_again() -> None:
    lir = MarkLoops().run(parse_linear(SOFTMAX))
    products = [s.output for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "brgemm"]
    assert products == ["s", "s.1", "s.2"]


def test_a_dynamic_axis_of_the_result_alone_is_split_among_tasks() -> None:
    assert ("e", ROWS.columns, True) in loops_of(after("attention", MarkLoops))
    assert ("e", ROWS.columns, True) not in loops_of(after("attention_static", MarkLoops))
