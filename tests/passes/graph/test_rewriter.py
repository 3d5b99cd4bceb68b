from __future__ import annotations

from snipjit.ir.subgraph import Node, SubgraphBuilder, TensorType
from snipjit.passes.graph.rewriter import Rewriter, rewrite

ROW = TensorType.of("f32", "m")


def _chain() -> SubgraphBuilder:
    build = SubgraphBuilder("chain")
    x = build.add("parameter", ROW, name="x")
    y = build.add("exp", ROW, build.add("neg", ROW, x, name="y"), name="z")
    build.result(y, name="r")
    return build


def test_later_nodes_read_the_replacement() -> None:
    def drop(out: Rewriter, node: Node) -> str:
        return node.inputs[0]

    after = rewrite(_chain().subgraph(), {"neg": drop, "exp": drop})
    assert after["r"].inputs == ("x",)


def test_fresh_names_are_not_taken() -> None:
    out = Rewriter(_chain().subgraph())
    assert [out.add("y", "neg", ROW, "x"), out.add("y", "neg", ROW, "x")] == ["y.1", "y.2"]
    assert out.fresh_axis("m") != "m"
