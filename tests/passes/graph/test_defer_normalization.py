from __future__ import annotations

from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.passes.graph.defer_normalization import DeferNormalization
from snipjit.passes.graph.eliminate_dead_nodes import EliminateDeadNodes
from tests.passes.graph.support import before_and_after, lines, rewritten

HEAD = """
        subgraph @g
        axis m
        axis n
        axis e
        %x = parameter : f32[m][n]
        %v = parameter : f32[n][e]
        %w = parameter : f32[n]
        %s = scalar : f32
        %e = exp %x : f32[m][n]
        %l = reduce %e {monoid=sum, over=(n)} : f32[m]
"""


def _unchanged(body: str) -> bool:
    text = HEAD + body
    return rewritten(DeferNormalization(), text) == print_subgraph(parse_subgraph(text))


def test_the_division_moves_behind_the_product() -> None:
    before = f"""{HEAD}
        %p = div %e %l : f32[m][n]
        %q = mul %s %p : f32[m][n]
        %o = brgemm %q %v {{over=(n)}} : f32[m][e]
        %r = result %o {{order=(0, 1)}} : f32[m][e]
    """
    after = rewritten(DeferNormalization(), before)
    tail = """
        %o.product = brgemm %e %v {over=(n)} : f32[m][e]
        %p.moved = div %o.product %l : f32[m][e]
        %q.moved = mul %p.moved %s : f32[m][e]
        %r = result %q.moved {order=(0, 1)} : f32[m][e]
    """
    assert after.endswith(lines(tail))


def test_scalars_alone_stay() -> None:
    assert _unchanged("""
        %p = mul %e %s : f32[m][n]
        %o = brgemm %p %v {over=(n)} : f32[m][e]
        %r = result %o {order=(0, 1)} : f32[m][e]
    """)


def test_a_result_keeps_its_normalization() -> None:
    assert _unchanged("""
        %p = div %e %l : f32[m][n]
        %o = brgemm %p %v {over=(n)} : f32[m][e]
        %r0 = result %o {order=(0, 1)} : f32[m][e]
        %r1 = result %p {order=(0, 1)} : f32[m][n]
    """)


def test_factors_along_the_summed_axis_stay() -> None:
    assert _unchanged("""
        %p = mul %e %w : f32[m][n]
        %o = brgemm %p %v {over=(n)} : f32[m][e]
        %r = result %o {order=(0, 1)} : f32[m][e]
    """)


def test_what_does_not_commute_with_scaling_stays() -> None:
    assert _unchanged("""
        %p = div %e %l : f32[m][n]
        %t = tanh %p : f32[m][n]
        %o = brgemm %t %v {over=(n)} : f32[m][e]
        %r = result %o {order=(0, 1)} : f32[m][e]
    """)


def test_every_value_matrix_is_normalized_for_itself() -> None:
    _, after = before_and_after(DeferNormalization, "two_values")
    live = EliminateDeadNodes().run(after)
    (division,) = live.of("div")
    scaled = [node for node in live.of("mul") if division.name in node.inputs]
    assert len(scaled) == 2
    assert all(live[node.inputs[0]].op == "brgemm" for node in scaled)
