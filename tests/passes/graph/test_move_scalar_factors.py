from __future__ import annotations

from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.passes.graph.move_scalar_factors import MoveScalarFactors
from tests.passes.graph.support import rewritten

HEAD = """
        subgraph @g
        axis m
        axis d = 8
        axis n
        axis e
        %q = parameter : f32[m][d]
        %k = parameter : f32[n][d]
        %v = parameter : f32[n][e]
        %s = scalar : f32
        %t = scalar : f32
"""


def test_factors_of_the_other_operand_scale_the_rows() -> None:
    before = f"""{HEAD}
        %1 = mul %k %s : f32[n][d]
        %2 = div %1 %t : f32[n][d]
        %3 = brgemm %q %2 {{over=(d)}} : f32[m][n]
        %4 = reduce %3 {{monoid=sum, over=(n)}} : f32[m]
        %r = result %4 {{order=(0)}} : f32[m]
    """
    after = rewritten(MoveScalarFactors(), before)
    assert "%1.moved = mul %q %s : f32[m][d]" in after
    assert "%2.moved = div %1.moved %t : f32[m][d]" in after
    assert "%3 = brgemm %2.moved %k {over=(d)} : f32[m][n]" in after


def test_scaled_rows_have_one_axis_in_each_dim() -> None:
    """A parameter's dim may be the product of axes; a computed value's may not."""
    before = """
        subgraph @g
        axis h
        axis m
        axis d = 8
        axis n
        %q = parameter : f32[m][h d]
        %k = parameter : f32[n][h d]
        %s = scalar : f32
        %1 = div %k %s : f32[h][d][n]
        %2 = brgemm %q %1 {over=(d)} : f32[h][m][n]
        %3 = reduce %2 {monoid=sum, over=(n)} : f32[h][m]
        %r = result %3 {order=(0, 1)} : f32[h][m]
    """
    after = rewritten(MoveScalarFactors(), before)
    assert "%1.moved = div %q %s : f32[h][m][d]" in after


def test_computed_rows_are_not_scaled_but_the_result_is() -> None:
    before = f"""{HEAD}
        %1 = brgemm %q %k {{over=(d)}} : f32[m][n]
        %2 = mul %s %v : f32[n][e]
        %3 = brgemm %1 %2 {{over=(n)}} : f32[m][e]
        %4 = reduce %3 {{monoid=sum, over=(e)}} : f32[m]
        %r = result %4 {{order=(0)}} : f32[m]
    """
    after = rewritten(MoveScalarFactors(), before)
    assert "%3.product = brgemm %1 %v {over=(n)} : f32[m][e]" in after
    assert "%2.moved = mul %3.product %s : f32[m][e]" in after
    assert "reduce %2.moved" in after


def test_divisions_of_a_scalar_and_row_scales_stay() -> None:
    before = f"""{HEAD}
        %1 = div %s %k : f32[n][d]
        %2 = mul %q %t : f32[m][d]
        %3 = brgemm %2 %1 {{over=(d)}} : f32[m][n]
        %4 = reduce %3 {{monoid=sum, over=(n)}} : f32[m]
        %r = result %4 {{order=(0)}} : f32[m]
    """
    assert rewritten(MoveScalarFactors(), before) == print_subgraph(parse_subgraph(before))


def test_factors_of_a_dynamic_sum_scale_the_result() -> None:
    head = HEAD.replace("axis d = 8", "axis d")
    before = f"""{head}
        %1 = mul %k %s : f32[n][d]
        %2 = div %q %t : f32[m][d]
        %3 = brgemm %2 %1 {{over=(d)}} : f32[m][n]
        %4 = reduce %3 {{monoid=sum, over=(n)}} : f32[m]
        %r = result %4 {{order=(0)}} : f32[m]
    """
    after = rewritten(MoveScalarFactors(), before)
    assert "%3.product = brgemm %q %k {over=(d)} : f32[m][n]" in after
    assert "%2.moved = div %3.product %t : f32[m][n]" in after
    assert "%1.moved = mul %2.moved %s : f32[m][n]" in after
