"""SafeMaxima: a value that is 0 where it was -inf, in one operation."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite


@dataclass(frozen=True)
class SafeMaxima(Pass):
    """Name what models write to subtract the maximum of a row that may see nothing.

    Before:  %t = eq %x %inf : i1[m] ; %y = where %t %zero %x : f32[m]     with %inf = -inf
    After:   %y = safe %x : f32[m]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with such choices named."""
        return rewrite(subgraph, {"where": _safe})


def _safe(out: Rewriter, node: Node) -> str:
    condition, zero, value = (out[name] for name in node.inputs)
    tested = condition.op == "eq" and condition.inputs[0] == value.name
    if tested and _is(out[condition.inputs[1]], -inf) and _is(zero, 0.0):
        return out.keep(Node(node.name, "safe", (value.name,), node.type))
    return out.keep(node)


def _is(node: Node, number: float) -> bool:
    return node.op == "constant" and bool(node.attrs["value"] == number)
