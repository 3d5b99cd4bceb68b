"""DeferNormalization: divide the result of a product, not its operand."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.subgraph import Node, Subgraph
from snipjit.passes.base import Pass
from snipjit.passes.graph.factors import Factor, apply, peel
from snipjit.passes.graph.rewriter import Rewriter


@dataclass(frozen=True)
class DeferNormalization(Pass):
    """Take a row factor that needs a whole reduction out of a product over the reduced axis.

    The factor does not depend on the axis that the product sums over, so it commutes with the sum.
    It is known only when the loop over that axis has ended; taken out, the product no longer
    waits for it (and there are fewer elements to scale). Factors applied after it go along. It
    moves only if products are the only users of the scaled value. Rounding aside the results are
    equal unless the factor is 0 or infinite; SoftmaxDecomposition sees to that.

    Before:  %p = div %e %l : f32[m][n]                     with %l = reduce %e {over=(n)}
             %o = brgemm %p %v {over=(n)} : f32[m][e]
    After:   %o.product = brgemm %e %v {over=(n)} : f32[m][e]
             %p.moved = div %o.product %l : f32[m][e]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with late row factors behind the products."""
        analysis = _Analysis(subgraph)
        out = Rewriter(subgraph)
        for node in subgraph.nodes:
            moves = node.op == "brgemm"
            new = _defer(out, node, analysis) if moves else out.keep(out.renamed(node))
            if new != node.name:
                out.replace(node.name, new)
        return out.subgraph()


class _Analysis:
    """Who reads a value, and which reductions it depends on."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.nodes = subgraph.by_name
        self.users = subgraph.users()
        self.reduced: dict[str, set[str]] = {}
        for node in subgraph.nodes:
            own = set(node.attrs["over"]) if node.op == "reduce" else set()
            self.reduced[node.name] = own.union(*(self.reduced[name] for name in node.inputs))

    def factors(self, value: str, over: set[str]) -> list[Factor]:
        """The factors that move, the outermost first; the last is the innermost late one."""
        chain = peel(
            self.nodes.__getitem__, value, lambda x: not over.intersection(self.nodes[x].type.axes)
        )
        late = [i for i, factor in enumerate(chain) if self.reduced[factor.factor] & over]
        chain = chain[: late[-1] + 1] if late else []
        inner = all(len(self.users[factor.value]) == 1 for factor in chain[1:])
        return chain if inner else []

    def movable(self, value: str, over: set[str]) -> list[Factor]:
        """The same, or none if some user of the value needs it scaled."""
        factors = self.factors(value, over)
        axes = {axis for factor in factors for axis in self.nodes[factor.factor].type.axes}
        for user in self.users[value]:
            if user.op != "brgemm" or axes.intersection(user.attrs["over"]):
                return []
        return factors


def _defer(out: Rewriter, node: Node, analysis: _Analysis) -> str:
    over = set(node.attrs["over"])
    moved = [analysis.movable(name, over) for name in node.inputs]
    if not any(moved):
        return out.keep(out.renamed(node))
    rests = [f[-1].rest if f else name for name, f in zip(node.inputs, moved, strict=True)]
    bare = out.renamed(Node(node.name, node.op, tuple(rests), node.type, node.attrs))
    product = out.add(f"{node.name}.product", "brgemm", bare.type, *bare.inputs, **bare.attrs)
    value = product
    for factors in moved:
        value = apply(out, value, node.type, factors)
    return value
