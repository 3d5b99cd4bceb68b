from __future__ import annotations

from snipjit.passes.graph.common_subexpressions import CommonSubexpressions
from tests.passes.graph.support import lines, rewritten


def test_equal_values_are_computed_once() -> None:
    before = """
        subgraph @g
        axis m
        %x = parameter : f32[m]
        %y = parameter : f32[m]
        %a = exp %x : f32[m]
        %b = exp %x : f32[m]
        %c = neg %a : f32[m]
        %d = neg %b : f32[m]
        %e = exp %y : f32[m]
        %zero = constant {value=0.0} : f32
        %minus = constant {value=-0.0} : f32
        %f = where %e %zero %minus : f32[m]
        %r0 = result %c {order=(0)} : f32[m]
        %r1 = result %d {order=(0)} : f32[m]
    """
    after = """
        subgraph @g
        axis m
        %x = parameter : f32[m]
        %y = parameter : f32[m]
        %a = exp %x : f32[m]
        %c = neg %a : f32[m]
        %e = exp %y : f32[m]
        %zero = constant {value=0.0} : f32
        %minus = constant {value=-0.0} : f32
        %f = where %e %zero %minus : f32[m]
        %r0 = result %c {order=(0)} : f32[m]
        %r1 = result %c {order=(0)} : f32[m]
    """
    assert rewritten(CommonSubexpressions(), before) == lines(after)
