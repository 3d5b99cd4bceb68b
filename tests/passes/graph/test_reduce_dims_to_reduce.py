from __future__ import annotations

from snipjit.passes.graph.reduce_dims_to_reduce import ReduceDimsToReduce
from tests.passes.graph.support import lines, rewritten


def test_the_dims_give_their_axes() -> None:
    before = """
        subgraph @g
        axis m
        axis h
        axis d
        %x = parameter : f32[m][h d][]
        %s = reduce_dims %x {monoid=sum, dims=(-2), keepdim=true} : f32[m][][]
        %t = reduce_dims %x {monoid=max, dims=(2), keepdim=false} : f32[m][h d]
        %r0 = result %s {order=(0, 1, 2)} : f32[m][][]
        %r1 = result %t {order=(0, 1)} : f32[m][h d]
    """
    after = """
        subgraph @g
        axis m
        axis h
        axis d
        %x = parameter : f32[m][h d][]
        %s = reduce %x {monoid=sum, over=(h, d)} : f32[m][][]
        %t = view %x : f32[m][h d]
        %r0 = result %s {order=(0, 1, 2)} : f32[m][][]
        %r1 = result %t {order=(0, 1)} : f32[m][h d]
    """
    assert rewritten(ReduceDimsToReduce(), before) == lines(after)
