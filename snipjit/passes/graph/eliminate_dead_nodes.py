"""EliminateDeadNodes: what no result needs goes, and the rest gets one fixed order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.base import Pass

INTERFACE = ("parameter", "scalar")


@dataclass(frozen=True)
class EliminateDeadNodes(Pass):
    """Keep parameters, scalars, and what the results need, each node after its operands.

    The order is that of a depth-first walk from the results, so it does not depend on the order in
    which a model happened to compute things. Axes that nothing has go as well.

    Before:  %x = parameter : f32[m]
             %a = exp %x : f32[m]
             %b = neg %x : f32[m]
             %y = result %b {order=(0)} : f32[m]
    After:   %x = parameter : f32[m]
             %b = neg %x : f32[m]
             %y = result %b {order=(0)} : f32[m]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with live nodes only."""
        nodes = subgraph.by_name
        live = {node.name: node for node in subgraph.of(*INTERFACE)}
        for result in subgraph.results:
            _visit(result, nodes, live)
        kept = [*(n for n in live.values() if n.op != "result"), *subgraph.results]
        used = {axis for node in kept for axis in node.type.axes}
        axes = {axis: size for axis, size in subgraph.axes.items() if axis in used}
        return replace(subgraph, axes=axes, nodes=tuple(kept))


def _visit(root: Node, nodes: dict[str, Node], live: dict[str, Node]) -> None:
    """Add a node after everything it reads. A loop, since chains may be longer than the stack."""
    stack = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            live[node.name] = node
        elif node.name not in live:
            stack.append((node, True))
            stack += [(nodes[name], False) for name in reversed(node.inputs)]
