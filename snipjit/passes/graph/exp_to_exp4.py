"""ExpToExp4: exponentials in base 4, the factor folded into a scale that is there anyway."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from snipjit.ir.operations import LOG4_E, MONOIDS, SCALINGS
from snipjit.ir.subgraph import Node, Subgraph, TensorType
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter

UNSCALED = (0.0, math.inf, -math.inf)
"""Numbers that a positive factor leaves as they are."""


@dataclass(frozen=True)
class ExpToExp4(Pass):
    """Turn ``exp(x - max x)`` into ``exp4(y - max y)`` where ``y = x·log4(e)`` costs nothing.

    It takes three instructions less: RowUnits makes the difference twice as large for ``exp2``, at
    no cost. (In base 2 the factor would be above 1, and scores beyond 2.3e38 infinite.) All that is
    done with ``x`` besides must not care for a positive factor: maxima, differences, comparisons
    with infinities and their replacement. The factor goes up through masks and sums to scalar
    factors; a product without one gets one, which ScaleRows takes to its rows. Added values without
    rows (padding masks) are multiplied, once for all rows. The rounding of ``y`` is of the size
    that the rounding of ``x`` has.

    Before:  %1 = mul %0 %s : f32[m][n]
             %2 = reduce %1 {monoid=larger, over=(n)} : f32[m]
             %3 = sub %1 %2 : f32[m][n]
             %4 = exp %3 : f32[m][n]
    After:   %1.factor = mul %s 0.7213 : f32
             %1.base4 = mul %0 %1.factor : f32[m][n]
             %2 = reduce %1.base4 {monoid=larger, over=(n)} : f32[m]
             %3 = sub %1.base4 %2 : f32[m][n]
             %4 = exp4 %3 : f32[m][n]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with such exponentials in base 4."""
        scale = _Scale(subgraph)
        regions = [_Region(scale, node.inputs[0]) for node in subgraph.of("sub")]
        roots = {region.root: region for region in regions if region.is_closed()}
        exps = {name for region in roots.values() for name in region.exps}
        out = Rewriter(subgraph)
        for node in map(out.renamed, subgraph.nodes):
            if node.name in roots:
                out.keep(node)
                out.replace(node.name, scale.apply(out, subgraph[node.name]))
            elif node.name in exps:
                out.keep(Node(node.name, "exp4", node.inputs, node.type, node.attrs))
            else:
                out.keep(node)
        return out.subgraph()


@dataclass
class _Region:
    """What is computed from a value in its unit, up to exponentials."""

    scale: _Scale
    root: str
    exps: list[str] = field(default_factory=list)

    def is_closed(self) -> bool:
        """Whether a factor of the root changes nothing but the base of exponentials."""
        users, nodes = self.scale.users, self.scale.nodes
        units, left, operations = {self.root}, [self.root], []
        while left:
            for user in users[left.pop()]:
                operations.append(user)
                if user.op in ("reduce", "sub", "where", "safe") and user.name not in units:
                    units.add(user.name)
                    left.append(user.name)
        self.exps = [user.name for user in operations if user.op == "exp"]
        sound = all(_keeps_unit(user, units, nodes) for user in operations)
        return bool(self.exps) and sound and self.scale.reaches(self.root)


def _keeps_unit(node: Node, units: set[str], nodes: dict[str, Node]) -> bool:
    """Whether an operation on values in the unit gives one, a truth, or the exponential."""
    values = node.inputs[1:] if node.op == "where" else node.inputs
    fits = all(name in units or _number(nodes[name]) in UNSCALED for name in values)
    if node.op == "reduce":
        return MONOIDS[node.attrs["monoid"]].is_maximum
    return node.op in ("sub", "where", "safe", "eq", "exp") and fits


def _number(node: Node) -> float | None:
    return node.attrs["value"] if node.op == "constant" else None


class _Scale:
    """Multiplies a value by log4(e) where its factors are."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.nodes = subgraph.by_name
        self.users = subgraph.users()
        self.rows = subgraph.row_axes()

    def reaches(self, name: str, is_root: bool = True) -> bool:
        """Whether the factor can go into a value that nothing else reads."""
        node = self.nodes[name]
        if not is_root and node.op != "constant" and len(self.users[name]) > 1:
            return False
        if node.op in SCALINGS:
            return not self.nodes[node.inputs[1]].type.axes
        if node.op == "where":
            return all(self.reaches(side, False) for side in node.inputs[1:])
        if node.op == "add":
            sides = sorted(node.inputs, key=self._is_without_rows)
            return self.reaches(sides[0], False) and self._is_without_rows(sides[1])
        return node.op in ("brgemm", "constant")

    def _is_without_rows(self, name: str) -> bool:
        return not {*self.rows} & {*self.nodes[name].type.axes}

    def apply(self, out: Rewriter, node: Node) -> str:
        """The scaled value of a node that the factor can go into."""
        node, hint = out.renamed(node), f"{node.name}.base4"
        if node.op in SCALINGS:
            factor = self._times(out, f"{node.name}.factor", node.inputs[1], node.op == "div")
            return out.add(hint, node.op, node.type, node.inputs[0], factor)
        if node.op == "where":
            sides = (self.apply(out, self.nodes[side]) for side in node.inputs[1:])
            return out.add(hint, "where", node.type, node.inputs[0], *sides)
        if node.op == "add":
            scores, added = sorted(node.inputs, key=self._is_without_rows)
            scaled = self.apply(out, self.nodes[scores])
            mask = self._times(out, f"{hint}.added", added, divides=False)
            return out.add(hint, "add", node.type, scaled, mask)
        if node.op == "constant":
            return out.constant(hint, node.attrs["value"] * LOG4_E)
        return out.add(hint, "mul", node.type, node.name, out.constant(f"{hint}.log4e", LOG4_E))

    def _times(self, out: Rewriter, hint: str, value: str, divides: bool) -> str:
        number = out.constant(f"{hint}.log4e", 1 / LOG4_E if divides else LOG4_E)
        return out.add(hint, "mul", _by_axes(out.type(value)), value, number)


def _by_axes(type: TensorType) -> TensorType:
    """The type of a value computed from a parameter, whose dims are its memory."""
    return TensorType.of(type.dtype, *type.axes)
