"""MatmulToBrgemm: matrix products become sums of products over named axes."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite


@dataclass(frozen=True)
class MatmulToBrgemm(Pass):
    """Name the axes that a product sums over; over no axis it is an elementwise product.

    Before:  %s = matmul %q %k : f32[b][m][n]
    After:   %s = brgemm %q %k {over=(d)} : f32[b][m][n]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph without ``matmul``."""
        return rewrite(subgraph, {"matmul": _convert})


def _convert(out: Rewriter, node: Node) -> str:
    over = out.type(node.inputs[0]).dims[-1]
    if not over:
        factors = tuple(out.to_f32(name) for name in node.inputs)
        return out.keep(Node(node.name, "mul", factors, node.type))
    return out.keep(Node(node.name, "brgemm", node.inputs, node.type, {"over": over}))
