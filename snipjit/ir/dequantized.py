"""Dequantized factors: what a product multiplies, as a function of 8-bit numbers in memory.

Such a factor is a parameter of integers or of floats of 8 bits, converted, and what is subtracted
from it (zeros) and what multiplies it (scales), each a parameter or a scalar. No value of it need
ever be in memory: kernels compute it as they load.
"""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.ir.subgraph import Node, Subgraph

STEPS = ("sub", "add", "mul", "div")
"""The functions that a load computes; of those that commute the operands change places."""

Step = tuple[str, str]
"""A function of what was loaded, and its other operand."""


@dataclass(frozen=True)
class Dequantized:
    """The parameter that holds the numbers, what is computed of them, and the nodes that do."""

    weight: str
    steps: tuple[Step, ...] = ()
    nodes: tuple[str, ...] = ()

    def then(self, node: Node, operand: str) -> Dequantized:
        """One step more."""
        return Dequantized(self.weight, (*self.steps, (node.op, operand)), (*self.nodes, node.name))


def dequantized(subgraph: Subgraph, name: str) -> Dequantized | None:
    """How a value follows from such numbers in memory; None if it is not such a factor."""
    node = subgraph[name]
    if node.op == "to_f32":
        source = subgraph[node.inputs[0]]
        held = source.op == "parameter" and source.type.element.is_quantized
        return Dequantized(source.name, (), (name,)) if held else None
    if node.op not in STEPS:
        return None
    orders = [node.inputs]
    if node.op in ("add", "mul"):
        orders.append(node.inputs[::-1])
    for own, other in orders:
        found = dequantized(subgraph, own)
        if found is not None and _is_given(subgraph, found, other):
            return found.then(node, given(subgraph, other).name)
    return None


def _is_given(subgraph: Subgraph, of: Dequantized, name: str) -> bool:
    """Whether an operand is a number of the call, or a tensor with none but the weight's axes."""
    node = given(subgraph, name)
    axes = {*subgraph[of.weight].type.axes}
    return node.op == "scalar" or (node.op == "parameter" and {*node.type.axes} <= axes)


def given(subgraph: Subgraph, name: str) -> Node:
    """What a value is read from, if a conversion is all that stands between."""
    node = subgraph[name]
    return subgraph[node.inputs[0]] if node.op == "to_f32" else node


def factor(subgraph: Subgraph, name: str) -> Node:
    """The parameter that a product reads in the place of an operand, or that value itself."""
    found = dequantized(subgraph, name)
    return subgraph[found.weight if found is not None else name]
