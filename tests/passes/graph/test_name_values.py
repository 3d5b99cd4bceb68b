from __future__ import annotations

from snipjit.passes.graph.name_values import NameValues
from tests.passes.graph.support import lines, rewritten


def test_names_tell_the_role() -> None:
    before = """
        subgraph @g
        axis m
        %query = parameter : f32[m]
        %scale = scalar : f32
        %exp_1 = exp %query : f32[m]
        %mul_1 = mul %exp_1 %scale : f32[m]
        %output = result %mul_1 {order=(0)} : f32[m]
    """
    after = """
        subgraph @g
        axis m
        %p0 = parameter : f32[m]
        %s0 = scalar : f32
        %0 = exp %p0 : f32[m]
        %1 = mul %0 %s0 : f32[m]
        %r0 = result %1 {order=(0)} : f32[m]
    """
    assert rewritten(NameValues(), before) == lines(after)
