"""ScaleRows: scalars that scale a product scale its rows instead."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.operations import SCALINGS
from snipjit.ir.subgraph import Node, Subgraph, TensorType
from snipjit.passes.base import Pass
from snipjit.passes.graph.factors import Factor, apply, peel
from snipjit.passes.graph.rewriter import Rewriter


@dataclass(frozen=True)
class ScaleRows(Pass):
    """Scale the operand that has the row axis: once a task, and not each element of a product.

    The operand must be an input, whose rows are brought into lanes once anyway, and the summed
    axes static, so that the scaled rows can be kept. Nothing else may read the unscaled product.
    Rows of narrow elements stay as they are: scaled ones would not fit these.

    Before:  %0 = brgemm %q %k {over=(d)} : f32[m][n]
             %1 = mul %0 %s : f32[m][n]
    After:   %1.moved = mul %q %s : f32[m][d]
             %1.product = brgemm %1.moved %k {over=(d)} : f32[m][n]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with scalar factors of products moved to the rows."""
        rows = subgraph.row_axes()
        users = subgraph.users()
        out = Rewriter(subgraph)
        for node in map(out.renamed, subgraph.nodes):
            out.keep(node)
            factors = _factors(out, node.name)
            inner = {factor.rest for factor in factors}
            # What this pass has made from a product has more readers than that one scaled.
            shared = any(len(users.get(name, ())) != 1 for name in inner)
            if shared or _goes_on(users[node.name], node):
                continue
            if factors and _is_scalable(out, out[factors[-1].rest], rows):
                out.replace(node.name, _scaled(out, node, rows[0], factors))
        return out.subgraph()


def _factors(out: Rewriter, value: str) -> list[Factor]:
    return peel(out.__getitem__, value, lambda name: not out.type(name).axes)


def _goes_on(users: list[Node], node: Node) -> bool:
    """Whether the only reader scales the value once more: that one takes all factors along."""
    return len(users) == 1 and users[0].op in SCALINGS and users[0].type == node.type


def _is_scalable(out: Rewriter, product: Node, rows: list[str]) -> bool:
    if product.op != "brgemm" or not rows:
        return False
    if any(out.axes[axis] is None for axis in product.attrs["over"]):
        return False
    with_rows = [name for name in product.inputs if rows[0] in out.type(name).axes]
    if len(with_rows) != 1 or out[with_rows[0]].op != "parameter":
        return False
    return not out.type(with_rows[0]).element.is_narrow


def _scaled(out: Rewriter, node: Node, row: str, factors: list[Factor]) -> str:
    """The product of scaled rows."""
    product = out[factors[-1].rest]
    operand = next(name for name in product.inputs if row in out.type(name).axes)
    # By name: a parameter's dims are its memory, where one dim may be a product of axes.
    axes = (axis for axis in out.axes if axis in out.type(operand).axes)
    scaled = apply(out, operand, TensorType.of("f32", *axes), factors)
    inputs = product.with_inputs({operand: scaled}).inputs
    return out.add(f"{node.name}.product", "brgemm", node.type, *inputs, **product.attrs)
