"""ConvertGraphToLinear: from the canonical Subgraph to a flat list of Expressions."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.linear_ir import Expression, LinearIR, Tensor, ValueType
from snipjit.passes.base import Pass
from snipjit.subgraph import Node, Subgraph
from snipjit.target_machine import TargetMachine

SYNTHETIC_LANES = "lane"


@dataclass(frozen=True)
class ConvertGraphToLinear(Pass):
    """One Expression a node, in topological order; choose the lanes axis.

    The lanes axis is vectorised. It must survive in every product, reduction and result, so that
    nothing is ever combined across lanes; of the axes that do, the last in the Subgraph's order is
    the row axis. A graph without one gets an axis of size 1, and its kernel is scalar.

    Before:  %s = brgemm %q %k {over=(d)} : f32[b m n]
             %y = result %s {order=(0, 1, 2)}
    After:   linear @g lanes m x 16
             %s = brgemm %q %k {over=(d)} : f32[b n m]
             store %y %s
    """

    target: TargetMachine

    def run(self, subgraph: Subgraph) -> LinearIR:
        """The LinearIR of a canonical Subgraph."""
        axes = dict(subgraph.axes)
        kept = surviving_axes(subgraph)
        lanes = kept[-1] if kept else SYNTHETIC_LANES
        axes.setdefault(lanes, None)
        lir = LinearIR(
            name=subgraph.name,
            lanes=lanes,
            width=self.target.lanes,
            axes={**dict.fromkeys(kept, None), **{a: n for a, n in axes.items() if a not in kept}},
            inputs=[Tensor(n.name, n.type.dtype, n.type.dims) for n in subgraph.parameters],
            outputs=[_output(n) for n in subgraph.results],
            scalars=[n.name for n in subgraph.scalars],
            body=[],
        )
        lir.body = [
            _expression(lir, node)
            for node in subgraph.nodes
            if node.op not in ("parameter", "scalar")
        ]
        return lir


def surviving_axes(subgraph: Subgraph) -> list[str]:
    """The axes that every product, reduction and result keeps, in the Subgraph's order."""
    anchors = subgraph.of("brgemm", "reduce", "result")
    reduced = {axis for node in anchors for axis in node.attrs.get("over", ())}
    return [
        axis
        for axis in subgraph.axes
        if axis not in reduced and all(axis in node.type.axes for node in anchors)
    ]


def _output(node: Node) -> Tensor:
    return Tensor(node.name, node.type.dtype, node.type.dims, tuple(node.attrs["order"]))


def _expression(lir: LinearIR, node: Node) -> Expression:
    type = ValueType(node.type.dtype, lir.sort_axes(node.type.axes))
    if node.op == "result":
        return Expression("store", None, (node.name, *node.inputs), type)
    op = "fill" if node.op == "constant" else node.op
    return Expression(op, node.name, node.inputs, type, dict(node.attrs))
