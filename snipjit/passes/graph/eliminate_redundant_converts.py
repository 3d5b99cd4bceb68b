"""EliminateRedundantConverts: conversions to the type a value has already."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.operations import ELEMENTWISE, kind_of
from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite


@dataclass(frozen=True)
class EliminateRedundantConverts(Pass):
    """Drop casts of values to the element type that they have.

    Before:  %a = to_f32 %x : f32[m]
             %b = exp %a : f32[m]
    After:   %b = exp %x : f32[m]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph without conversions that change nothing."""
        casts = (name for name in ELEMENTWISE if kind_of(name) == "cast")
        return rewrite(subgraph, dict.fromkeys(casts, _convert))


def _convert(out: Rewriter, node: Node) -> str:
    (x,) = node.inputs
    return x if out.type(x).dtype == node.type.dtype else out.keep(node)
