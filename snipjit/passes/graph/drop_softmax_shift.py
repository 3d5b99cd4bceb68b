"""DropSoftmaxShift: softmax subtracts the maximum itself."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite

ALIASES = ("view", "unsqueeze")


@dataclass(frozen=True)
class DropSoftmaxShift(Pass):
    """Take the softmax of a value from which its maximum was subtracted of the value itself.

    The result is the same, also for infinite maxima (NaN in either case), and the maximum need not
    be finished before the scores can be exponentiated. Only the maximum over the dim of the softmax
    goes; any other shift may round differently.

    Before:  %x = reduce_dims %s {monoid=max, dims=(-1), keepdim=true} : f32[m][]
             %c = sub %s %x : f32[m][n]
             %p = softmax %c {dim=-1} : f32[m][n]
    After:   %p = softmax %s {dim=-1} : f32[m][n]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with such shifts unused."""
        return rewrite(subgraph, {"softmax": _unshifted})


def _unshifted(out: Rewriter, node: Node) -> str:
    shifts = [out[name] for name in node.inputs]
    whole = [shift.inputs[0] for shift in shifts if shift.op == "sub"]
    if len(whole) < len(shifts) or not all(
        _is_maximum(out, shift.inputs[1], whole, node) for shift in shifts
    ):
        return out.keep(node)
    return out.keep(node.with_inputs(dict(zip(node.inputs, whole, strict=True))))


def _is_maximum(out: Rewriter, name: str, whole: list[str], node: Node) -> bool:
    """Whether a value is the maximum of all columns that the softmax goes over."""
    found = out[name]
    if len(whole) > 1:
        rest = [other for other in found.inputs if other != whole[1]]
        return (
            found.op == "maximum" and len(rest) == 1 and _is_maximum(out, rest[0], whole[:1], node)
        )
    while found.op in ALIASES:
        found = out[found.inputs[0]]
    if found.op != "reduce_dims" or found.inputs != (whole[0],):
        return False
    rank, index = len(node.type.dims), node.attrs["dim"]
    over = [dim % rank for dim in found.attrs["dims"]]
    row = [() if i == index % rank else dim for i, dim in enumerate(node.type.dims)]
    aligned = list(out.type(name).dims) == row
    return found.attrs["monoid"] == "max" and over == [index % rank] and aligned
