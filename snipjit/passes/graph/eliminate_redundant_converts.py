"""EliminateRedundantConverts: conversions to the type a value has already."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite
from snipjit.subgraph import Node, Subgraph


@dataclass(frozen=True)
class EliminateRedundantConverts(Pass):
    """Drop ``to_f32`` of f32 and ``to_i1`` of i1.

    Before:  %a = to_f32 %x : f32[m]
             %b = exp %a : f32[m]
    After:   %b = exp %x : f32[m]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph without conversions that change nothing."""
        return rewrite(subgraph, {"to_f32": _convert, "to_i1": _convert})


def _convert(out: Rewriter, node: Node) -> str:
    (x,) = node.inputs
    return x if out.type(x).dtype == node.type.dtype else out.keep(node)
