from __future__ import annotations

from snipjit.passes.graph.eliminate_dead_nodes import EliminateDeadNodes
from tests.passes.graph.support import lines, rewritten


def test_what_no_result_needs_goes() -> None:
    before = """
        subgraph @g
        axis m
        axis k
        %x = parameter : f32[m]
        %i = iota {axis=k} : i32[k]
        %a = exp %x : f32[m]
        %b = neg %x : f32[m]
        %r = result %b {order=(0)} : f32[m]
    """
    after = """
        subgraph @g
        axis m
        %x = parameter : f32[m]
        %b = neg %x : f32[m]
        %r = result %b {order=(0)} : f32[m]
    """
    assert rewritten(EliminateDeadNodes(), before) == lines(after)


def test_the_order_of_computation_does_not_matter() -> None:
    head = "subgraph @g\naxis m\n%x = parameter : f32[m]\n"
    a, b = "%a = exp %x : f32[m]\n", "%b = neg %x : f32[m]\n"
    rest = "%c = add %a %b : f32[m]\n%r = result %c {order=(0)} : f32[m]\n"
    first = rewritten(EliminateDeadNodes(), head + a + b + rest)
    assert first == rewritten(EliminateDeadNodes(), head + b + a + rest)


def test_long_chains_need_no_stack() -> None:
    chain = "".join(f"%{i + 1} = neg %{i} : f32[m]\n" for i in range(5000))
    text = f"subgraph @g\naxis m\n%0 = parameter : f32[m]\n{chain}"
    text += "%r = result %5000 {order=(0)} : f32[m]\n"
    assert rewritten(EliminateDeadNodes(), text) == text
