"""The table of LinearIR's operations: how each is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from snipjit.ir.operations import ELEMENTWISE


@dataclass(frozen=True)
class Rule:
    """How an operation is written: operand counts, attributes, and whether emission knows it."""

    operands: tuple[int, ...]
    attrs: tuple[str, ...] = ()
    final: bool = True
    optional: tuple[str, ...] = ()


RULES: dict[str, Rule] = {
    "load": Rule((1, 2), optional=("registers", "axis")),
    "store": Rule((2,), optional=("registers",)),
    "prefetch": Rule((1,), optional=("ahead", "along", "by")),
    "pad": Rule((1,), ("axis", "to")),
    "claim": Rule((0,), ("axes",)),
    "fill": Rule((0,), ("value",), optional=("apart", "registers")),
    "iota": Rule((0,), ("axis",)),
    "fma": Rule((3,), ("over",), optional=("apart", "pairs", "tiles", "registers")),
    "sum_lanes": Rule((1,)),
    "horizon": Rule((1,), ("monoid", "over")),
    "brgemm": Rule((2, 3), ("over",), final=False, optional=("pairs", "tiles", "read")),
    "reduce": Rule((1,), ("monoid", "over"), final=False),
}
"""All but the elementwise functions."""
MOVED = {"prefetch": ("input",), "pad": ("buffer",)}


def rule_of(op: str) -> Rule | None:
    """How an operation is written; None for one that does not exist."""
    if (row := ELEMENTWISE.get(op)) is None:
        return RULES.get(op)
    optional = ("precision", "rounded") if row.kind == "exponential" else ()
    return Rule((row.arity,), optional=optional)


SCALAR = "scalar"
"""What analyses take for the definition of a number of the call; no body has it."""


def misspelt(op: str, attrs: Iterable[str]) -> str | None:
    """What no operation or none of its attributes is called; None if all names are known."""
    if op == SCALAR:
        return None
    rule = rule_of(op)
    if rule is None:
        return f"unknown operation {op}"
    extra = ", ".join(name for name in attrs if name not in (*rule.attrs, *rule.optional))
    return f"{op} has no attributes {extra}" if extra else None
