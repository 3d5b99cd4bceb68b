"""ReduceDimsToReduce: reductions by dim number become reductions by axis name."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite


@dataclass(frozen=True)
class ReduceDimsToReduce(Pass):
    """Name the axes that a reduction combines; over dims of no axis it is a view.

    Before:  %y = reduce_dims %x {monoid=sum, dims=(-1), keepdim=true} : f32[m][]
    After:   %y = reduce %x {monoid=sum, over=(n)} : f32[m][]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph without ``reduce_dims``."""
        return rewrite(subgraph, {"reduce_dims": _convert})


def _convert(out: Rewriter, node: Node) -> str:
    (x,), dims = node.inputs, out.type(node.inputs[0]).dims
    over = tuple(axis for index in node.attrs["dims"] for axis in dims[index])
    if not over:
        return out.keep(Node(node.name, "view", (x,), node.type))
    attrs = {"monoid": node.attrs["monoid"], "over": over}
    return out.keep(Node(node.name, "reduce", (x,), node.type, attrs))
