from __future__ import annotations

import pytest

from snipjit.errors import UnsupportedError
from snipjit.ir.verify.subgraph import verify_canonical
from snipjit.passes.graph.fuse_layouts import FuseLayouts
from tests.passes.graph.support import before_and_after, examples, lines, rewritten


def test_layout_operations_go() -> None:
    before = """
        subgraph @g
        axis b0
        axis m
        axis d
        axis n
        axis g
        %q = parameter : f32[b0][m][d]
        %k = parameter : f32[b0][n][d]
        %t = transpose %k {order=(0, 2, 1)} : f32[b0][d][n]
        %s = brgemm %q %t {over=(d)} : f32[b0][m][n]
        %x = reduce %s {monoid=max, over=(n)} : f32[b0][m][]
        %c = sub %s %x : f32[b0][m][n]
        %u = unsqueeze %c {dim=1} : f32[b0][][m][n]
        %e = expand %u : f32[b0][g][m][n]
        %v = view %e : f32[b0 g][m][n]
        %r = result %v {order=(0, 1, 2)} : f32[b0 g][m][n]
    """
    after = """
        subgraph @g
        axis b0
        axis m
        axis d
        axis n
        axis g
        %q = parameter : f32[b0][m][d]
        %k = parameter : f32[b0][n][d]
        %s = brgemm %q %k {over=(d)} : f32[b0][m][n]
        %x = reduce %s {monoid=max, over=(n)} : f32[b0][m]
        %c = sub %s %x : f32[b0][m][n]
        %r = result %c {order=(0, 1, 2)} : f32[b0 g][m][n]
    """
    assert rewritten(FuseLayouts(), before) == lines(after)


@examples
def test_the_outcome_is_canonical(example: str) -> None:
    _, after = before_and_after(FuseLayouts, example)
    verify_canonical(after)


def test_a_sum_over_equal_elements_is_refused() -> None:
    before = """
        subgraph @g
        axis m
        axis n
        %x = parameter : f32[m][]
        %e = expand %x : f32[m][n]
        %s = reduce %e {monoid=sum, over=(n)} : f32[m][]
        %r = result %s {order=(0, 1)} : f32[m][]
    """
    with pytest.raises(UnsupportedError, match="expanded operand"):
        rewritten(FuseLayouts(), before)
