"""ScaleColumns: scales of a weight's channels scale the columns of the product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snipjit.ir.dequantized import dequantized
from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.base import Pass
from snipjit.passes.graph.factors import Factor, apply, peel
from snipjit.passes.graph.rewriter import Rewriter


@dataclass(frozen=True)
class ScaleColumns(Pass):
    """Scale what a product gives, not each element of a weight that is made of integers.

    A factor that lacks the summed axes is the same for a whole sum. The sum is of products with
    whole numbers then, of which fewer are rounded; it is as large as the scale is small, which is
    far from what f32 holds. Scales of groups and zeros stay: sums of what is far from zero would
    cancel.

    Before:  %0 = to_f32 %w : f32[n][k]                                       with %w of i8
             %1 = mul %0 %s : f32[n][k]                                       with %s : f32[n]
             %2 = brgemm %x %1 {over=(k)} : f32[m][n]
    After:   %0 = to_f32 %w : f32[n][k]
             %2.whole = brgemm %x %0 {over=(k)} : f32[m][n]
             %1.moved = mul %2.whole %s : f32[m][n]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with scales behind products."""
        out = Rewriter(subgraph)
        for node in map(out.renamed, subgraph.nodes):
            new = _scaled(subgraph, out, node) if node.op == "brgemm" else out.keep(node)
            if new != node.name:
                out.replace(node.name, new)
        return out.subgraph()


def _scaled(subgraph: Subgraph, out: Rewriter, node: Node) -> str:
    """A product that is scaled behind, or as it was."""
    summed, found = {*node.attrs["over"]}, list[Factor]()
    for name in node.inputs:
        if dequantized(subgraph, name) is not None:
            found += peel(out.__getitem__, name, lambda of: not summed & {*out.type(of).axes})
    if not found:
        return out.keep(node)
    rests = {factor.value: factor.rest for factor in found}
    inputs = [_rest(rests, name) for name in node.inputs]
    whole = out.add(f"{node.name}.whole", node.op, node.type, *inputs, **node.attrs)
    return apply(out, whole, node.type, found)


def _rest(rests: Mapping[str, str], name: str) -> str:
    """A value without its scales."""
    while name in rests:
        name = rests[name]
    return name
