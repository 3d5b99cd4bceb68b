from __future__ import annotations

from snipjit.ir.subgraph import SubgraphBuilder, TensorType
from snipjit.passes.graph.factors import peel

ROW = TensorType.of("f32", "m")


def test_factors_come_outermost_first() -> None:
    build = SubgraphBuilder("g")
    x = build.add("parameter", ROW, name="x")
    s, t = (build.add("scalar", TensorType("f32"), name=name) for name in "st")
    y = build.add("mul", ROW, s, x, name="y")
    z = build.add("div", ROW, y, t, name="z")
    nodes = build.subgraph().by_name
    factors = peel(nodes.__getitem__, z, lambda name: name in (s, t))
    assert [(f.op, f.rest, f.factor) for f in factors] == [("div", "y", "t"), ("mul", "x", "s")]


def test_a_divided_scalar_is_no_factor() -> None:
    build = SubgraphBuilder("g")
    x = build.add("parameter", ROW, name="x")
    s = build.add("scalar", TensorType("f32"), name="s")
    y = build.add("div", ROW, s, x, name="y")
    assert peel(build.subgraph().by_name.__getitem__, y, lambda name: name == s) == []
