"""SoftmaxDecomposition: softmax as reductions and elementwise functions."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.subgraph import Dim, Node, Subgraph, TensorType
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite


@dataclass(frozen=True)
class SoftmaxDecomposition(Pass):
    """Subtract the maximum, exponentiate, divide by the sum.

    One division a row: the sum is at least 1, the exponential of the maximum, so that its inverse
    is as good as the sum to within a rounding.

    A sum of 0 is replaced by 1. Only two kinds of rows have one: rows without elements (0 follows,
    as in eager, also when the division moves behind a product), and rows that are -inf throughout
    where ``hidden="zero"`` asks for zeros. For the latter the maximum -inf becomes 0; otherwise
    -inf - (-inf) gives the NaN of eager. The maximum may drop a NaN: the exponential keeps it.

    A second operand is one more column, which takes part in the sum and is no part of the result.
    Its exponential comes after the reductions, less the maximum of the others: should that
    overflow, the product is the 0 to which it would have rounded. Where eager subtracts an
    infinite maximum the sum gets the NaN that follows from it.

    Before:  %p = softmax %s {dim=-1} : f32[m][n]
    After:   %p.max = reduce %s {monoid=larger, over=(n)} : f32[m][]
             %p.shifted = sub %s %p.max : f32[m][n]
             %p.exp = exp %p.shifted : f32[m][n]
             %p.sum = reduce %p.exp {monoid=sum, over=(n)} : f32[m][]
             %p.zero = constant {value=0.0} : f32
             %p.one = constant {value=1.0} : f32
             %p.empty = eq %p.sum %p.zero : i1[m][]
             %p.safe = where %p.empty %p.one %p.sum : f32[m][]
             %p.inverse = div %p.one %p.safe : f32[m][]
             %p.scaled = mul %p.exp %p.inverse : f32[m][n]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph without softmax."""
        return rewrite(subgraph, {"softmax": _decompose})


def _decompose(out: Rewriter, node: Node) -> str:
    x, name, dims = node.inputs[0], node.name, node.type.dims
    index = node.attrs["dim"] % len(dims)
    row = TensorType("f32", (*dims[:index], (), *dims[index + 1 :]))
    top = _reduce(out, f"{name}.max", "larger", row, x, dims[index])
    zero = out.constant(f"{name}.zero", 0.0)
    largest, column = top, node.inputs[1:]
    if node.attrs.get("hidden") == "zero" or column:
        top = out.add(f"{name}.hidden", "safe", out.type(top), top)
    shifted = out.add(f"{name}.shifted", "sub", node.type, x, top)
    rounded = {key: value for key, value in node.attrs.items() if key == "rounded"}
    exp = out.add(f"{name}.exp", "exp", node.type, shifted, **rounded)
    total = _reduce(out, f"{name}.sum", "sum", row, exp, dims[index])
    if column:
        largest = top if node.attrs.get("hidden") == "zero" else largest
        total = _add_column(out, name, total, (largest, top), column[0])
    one = out.constant(f"{name}.one", 1.0)
    total = _replace_equal(out, f"{name}.empty", total, zero, one)
    inverse = out.add(f"{name}.inverse", "div", row, one, total)
    return out.add(f"{name}.scaled", "mul", node.type, exp, inverse)


def _add_column(out: Rewriter, name: str, total: str, maximum: tuple[str, str], column: str) -> str:
    """The sum with one more column, for the maximum of the others and the one subtracted."""
    row = out.type(total)
    shifted = out.add(f"{name}.column", "sub", row, column, maximum[1])
    term = out.add(f"{name}.term", "exp", row, shifted)
    total = out.add(f"{name}.total", "add", row, total, term)
    largest = out.add(f"{name}.largest", "maximum", row, maximum[0], column)
    nan = out.add(f"{name}.nan", "sub", row, largest, largest)
    return out.add(f"{name}.checked", "add", row, total, nan)


def _reduce(out: Rewriter, name: str, monoid: str, type: TensorType, x: str, over: Dim) -> str:
    """A reduction; over no axis it is its operand."""
    return out.add(name, "reduce", type, x, monoid=monoid, over=over) if over else x


def _replace_equal(out: Rewriter, name: str, value: str, old: str, new: str) -> str:
    """``value``, but ``new`` where it equals ``old``."""
    type = out.type(value)
    found = out.add(name, "eq", TensorType("i1", type.dims), value, old)
    return out.add(f"{name}.safe", "where", type, found, new, value)
