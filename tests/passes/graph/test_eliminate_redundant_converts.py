from __future__ import annotations

from snipjit.passes.graph.eliminate_redundant_converts import EliminateRedundantConverts
from tests.passes.graph.support import lines, rewritten


def test_only_conversions_that_change_the_type_stay() -> None:
    before = """
        subgraph @g
        axis m
        %x = parameter : f32[m]
        %a = to_f32 %x : f32[m]
        %b = to_i1 %a : i1[m]
        %c = to_i1 %b : i1[m]
        %d = to_f32 %c : f32[m]
        %r = result %d {order=(0)} : f32[m]
    """
    after = """
        subgraph @g
        axis m
        %x = parameter : f32[m]
        %b = to_i1 %x : i1[m]
        %d = to_f32 %b : f32[m]
        %r = result %d {order=(0)} : f32[m]
    """
    assert rewritten(EliminateRedundantConverts(), before) == lines(after)
