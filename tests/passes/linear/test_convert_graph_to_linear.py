"""ConvertGraphToLinear: one Expression a node, and the choice of the lanes axis."""

from __future__ import annotations

from collections.abc import Callable

from snipjit.ir.schedule import SYNTHETIC_LANES
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.ir.verify.linear import verify
from snipjit.passes.linear.convert_graph_to_linear import ConvertGraphToLinear
from tests.linear_examples import TINY

GRAPH = """
subgraph @g
axis b
axis m
axis n
axis d = 8
%q = parameter : f32[b][m][d]
%k = parameter : f32[b][n][d]
%scale = scalar : f32
%s = brgemm %q %k {over=(d)} : f32[b][m][n]
%t = mul %s %scale : f32[b][m][n]
%x = reduce %t {monoid=max, over=(n)} : f32[b][m]
%c = constant {value=2.5} : f32
%z = add %x %c : f32[b][m]
%y = result %z {order=(1, 0)} : f32[b][m]
"""


def test_before_and_after(golden: Callable[[str], None]) -> None:
    subgraph = parse_subgraph(GRAPH)
    lir = ConvertGraphToLinear(TINY).run(subgraph)
    verify(lir)
    golden(f"{print_subgraph(subgraph)}\n# after ConvertGraphToLinear\n\n{print_linear(lir)}")


def test_lanes_are_the_last_axis_that_survives_everywhere() -> None:
    lir = ConvertGraphToLinear(TINY).run(parse_subgraph(GRAPH))
    assert lir.lanes == ("m",)
    assert lir.width == TINY.lanes


def test_a_graph_without_a_surviving_axis_is_scalar() -> None:
    text = """
    subgraph @sum
    axis n
    %x = parameter : f32[n]
    %s = reduce %x {monoid=sum, over=(n)} : f32
    %y = result %s {order=()} : f32
    """
    lir = ConvertGraphToLinear(TINY).run(parse_subgraph(text))
    assert lir.lanes == (SYNTHETIC_LANES,)
    assert SYNTHETIC_LANES in lir.axes


def test_sizes_of_surviving_axes_are_not_compiled_in() -> None:
    lir = ConvertGraphToLinear(TINY).run(parse_subgraph(GRAPH.replace("axis m", "axis m = 12")))
    assert lir.axes == {"b": None, "m": None, "n": None, "d": 8}
