"""MoveScalarFactors: a scalar that scales a streamed operand of a product scales the rows."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.subgraph import Node, Subgraph, TensorType
from snipjit.passes.base import Pass
from snipjit.passes.graph.factors import apply, peel
from snipjit.passes.graph.rewriter import Rewriter


@dataclass(frozen=True)
class MoveScalarFactors(Pass):
    """Move scalars from the operand without the row axis to the operand that has it.

    Rows are loaded once a task and the other operand once for every block of rows, so this is less
    work, and the other operand can be read from memory as it is. The factor still applies before
    the sum: products and partial sums have the magnitude they had, so a scale that keeps them from
    overflowing still does. Where the rows are computed by this kernel, scaling them would be more
    work; then the factor scales the result. It also does where the summed axis has no static size:
    a scaled operand would have to be kept at a size that is not known.

    Before:  %1 = mul %k %s : f32[n][d]
             %2 = brgemm %q %1 {over=(d)} : f32[m][n]
    After:   %1.moved = mul %q %s : f32[m][d]
             %2 = brgemm %1.moved %k {over=(d)} : f32[m][n]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with scalar factors of products moved."""
        rows = subgraph.row_axes()
        if not rows:
            return subgraph
        out = Rewriter(subgraph)
        computed = _computed(subgraph)
        for node in map(out.renamed, subgraph.nodes):
            new = _move(out, node, rows[0], computed) if node.op == "brgemm" else out.keep(node)
            if new != node.name:
                out.replace(node.name, new)
        return out.subgraph()


def _computed(subgraph: Subgraph) -> set[str]:
    """The values that depend on a product or a reduction."""
    computed: set[str] = set()
    for node in subgraph.nodes:
        if node.op in ("brgemm", "reduce") or computed.intersection(node.inputs):
            computed.add(node.name)
    return computed


def _behind(out: Rewriter, node: Node, computed: set[str]) -> str:
    """The product of operands without their factors, which scale the result."""
    given = [name for name in dict.fromkeys(node.inputs) if name not in computed]
    factors = {name: peel(out.__getitem__, name, lambda x: not out.type(x).axes) for name in given}
    rests = {name: found[-1].rest for name, found in factors.items() if found}
    if not rests:
        return out.keep(node)
    inputs = tuple(rests.get(name, name) for name in node.inputs)
    value = out.add(f"{node.name}.product", "brgemm", node.type, *inputs, **node.attrs)
    for name in node.inputs:
        value = apply(out, value, node.type, factors.get(name, []))
    return value


def _move(out: Rewriter, node: Node, row: str, computed: set[str]) -> str:
    if any(out.axes[axis] is None for axis in node.attrs["over"]):
        return _behind(out, node, computed)
    has_row = [row in out.type(name).axes for name in node.inputs]
    if sorted(has_row) != [False, True]:
        return out.keep(node)
    rows, other = node.inputs[has_row.index(True)], node.inputs[has_row.index(False)]
    factors = peel(out.__getitem__, other, lambda name: not out.type(name).axes)
    if not factors:
        return out.keep(node)
    rest = factors[-1].rest
    if rows in computed:
        inner = out.add(f"{node.name}.product", "brgemm", node.type, rows, rest, **node.attrs)
        return apply(out, inner, node.type, factors)
    # By name: a parameter's dims are its memory, where one dim may be the product of several axes.
    type = out.type(rows)
    ordered = TensorType.of("f32", *(axis for axis in out.axes if axis in type.axes))
    wide = rows if type.dtype == "f32" else out.add(f"{rows}.wide", "to_f32", ordered, rows)
    scaled = apply(out, wide, ordered, factors)
    return out.keep(node.with_inputs({rows: scaled, other: rest}))
