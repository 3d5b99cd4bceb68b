"""FuseLayouts: named axes make layout operations identities; layouts are left to the ports."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.errors import UnsupportedError
from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.subgraph import Node, Subgraph, TensorType
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite

LAYOUTS = ("transpose", "view", "unsqueeze", "expand")


@dataclass(frozen=True)
class FuseLayouts(Pass):
    """Drop transpose, view, unsqueeze and expand: their users read the operand by axis name.

    Parameters and results keep their dims, which are their memory layout. All other values list
    each axis they depend on once, in the order of the Subgraph. An axis that only ``expand`` gave
    to a value is gone: it broadcasts by name, and nothing is repeated.

    Before:  %k = parameter : f32[b0][n][d]
             %t = transpose %k {order=(0, 2, 1)} : f32[b0][d][n]
             %s = brgemm %q %t {over=(d)} : f32[b0][m][n]
             %x = reduce %s {monoid=max, over=(n)} : f32[b0][m][]
    After:   %k = parameter : f32[b0][n][d]
             %s = brgemm %q %k {over=(d)} : f32[b0][m][n]
             %x = reduce %s {monoid=max, over=(n)} : f32[b0][m]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The canonical Subgraph."""
        others = ("brgemm", "reduce", "iota", "gather")
        computed = dict.fromkeys((*ELEMENTWISE, *others), _by_name)
        scalars = dict.fromkeys(("scalar", "constant"), _by_name)
        return rewrite(subgraph, {**dict.fromkeys(LAYOUTS, _skip), **computed, **scalars})


def _skip(out: Rewriter, node: Node) -> str:
    return node.inputs[0]


def _by_name(out: Rewriter, node: Node) -> str:
    over = node.attrs.get("over", ())
    operands = [out.type(name).axes for name in node.inputs]
    for axes in operands:
        if not set(over) <= set(axes):
            raise UnsupportedError(
                f"%{node.name} ({node.op}) sums over axes of an expanded operand, whose elements "
                "are all equal; multiply by the size instead"
            )
    gone = {*over, node.attrs.get("axis")}
    wanted = {axis for axes in operands for axis in axes if axis not in gone}
    if node.op == "iota":
        wanted = {node.attrs["axis"]}
    ordered = (axis for axis in out.axes if axis in wanted)
    return out.keep(replace(node, type=TensorType.of(node.type.dtype, *ordered)))
