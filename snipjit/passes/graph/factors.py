"""Factors: values as a product of a rest and of factors that multiply or divide it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snipjit.ir.operations import ELEMENTWISE, SCALINGS
from snipjit.ir.subgraph import Node, TensorType
from snipjit.passes.graph.rewriter import Rewriter


@dataclass(frozen=True)
class Factor:
    """``value`` = ``rest`` op ``factor`` with an op of ``SCALINGS``."""

    value: str
    op: str
    rest: str
    factor: str


def split_factor(node: Node, is_factor: Callable[[str], bool]) -> Factor | None:
    """The node as a rest and one factor that satisfies ``is_factor``, if it is such a product."""
    if node.op not in SCALINGS:
        return None
    for (rest,) in reversed(ELEMENTWISE[node.op].linear):
        factor = node.inputs[1 - rest]
        if is_factor(factor):
            return Factor(node.name, node.op, node.inputs[rest], factor)
    return None


def peel(
    node_of: Callable[[str], Node], value: str, is_factor: Callable[[str], bool]
) -> list[Factor]:
    """All factors of a value, the outermost first."""
    factors: list[Factor] = []
    found = split_factor(node_of(value), is_factor)
    while found is not None:
        factors.append(found)
        found = split_factor(node_of(found.rest), is_factor)
    return factors


def apply(out: Rewriter, value: str, type: TensorType, factors: list[Factor]) -> str:
    """Multiply and divide a value of the given type by factors, the innermost (last) first."""
    for factor in reversed(factors):
        value = out.add(f"{factor.value}.moved", factor.op, type, value, factor.factor)
    return value
