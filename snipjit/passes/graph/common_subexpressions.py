"""CommonSubexpressions: what is computed twice is computed once."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter

ONCE = ("parameter", "scalar", "result")


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Let users of a value read the first equal one. Parameters, scalars and results stay.

    Before:  %a = exp %x : f32[m]
             %b = exp %x : f32[m]
             %c = add %a %b : f32[m]
    After:   %a = exp %x : f32[m]
             %c = add %a %a : f32[m]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph without repeated nodes."""
        out = Rewriter(subgraph)
        first: dict[tuple[object, ...], str] = {}
        for node in map(out.renamed, subgraph.nodes):
            known = first.setdefault(_key(node), node.name)
            if known == node.name:
                out.keep(node)
            else:
                out.replace(node.name, known)
        return out.subgraph()


def _key(node: Node) -> tuple[object, ...]:
    # repr tells 0.0 from -0.0 and 1 from True, and a NaN equals itself.
    attrs = repr(sorted(node.attrs.items()))
    unique = node.name if node.op in ONCE else ""
    return (unique, node.op, node.inputs, node.type, attrs)
