"""What a Subgraph may hold, as one table for each of its forms.

The tables stand in ``ir/verify/subgraph_rules.py``; here is what holds for every operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snipjit.errors import VerificationError
from snipjit.ir.element_types import ELEMENT_TYPES
from snipjit.ir.subgraph import Node, Subgraph, TensorType
from snipjit.ir.subgraph_operations import attrs_of
from snipjit.ir.text.subgraph import around
from snipjit.ir.verify.subgraph_rules import (
    CANONICAL,
    COMMON,
    POSITIONAL,
    Table,
    elementwise,
    is_aligned,
    is_broadcast,
    is_union,
)


def verify_positional(subgraph: Subgraph) -> None:
    """Check what a tokenizer built. Raises VerificationError with the nodes around the fault."""
    _verify(subgraph, {**COMMON, **POSITIONAL, **elementwise(is_broadcast)})


def verify_between(subgraph: Subgraph) -> None:
    """Check a Subgraph after any graph pass: the operations and alignments of both forms."""
    _verify(subgraph, {**COMMON, **POSITIONAL, **CANONICAL, **elementwise(is_aligned)})


def verify_canonical(subgraph: Subgraph) -> None:
    """Check what the graph passes hand to the linear ones. Raises VerificationError likewise."""
    _verify(subgraph, {**COMMON, **CANONICAL, **elementwise(is_union)})
    for node in subgraph.nodes:
        if node.op not in ("parameter", "result") and any(len(d) != 1 for d in node.type.dims):
            raise _fault(subgraph, node, "a computed value has one axis in each dim")


def _verify(subgraph: Subgraph, table: Table) -> None:
    types: dict[str, TensorType] = {}
    for node in subgraph.nodes:
        problem = _problem(subgraph, node, types, table)
        if problem is not None:
            raise _fault(subgraph, node, problem)
        types[node.name] = node.type
    if not subgraph.results:
        raise VerificationError(f"subgraph @{subgraph.name} has no result")


def _problem(
    subgraph: Subgraph, node: Node, types: Mapping[str, TensorType], table: Table
) -> str | None:
    row = table.get(node.op)
    if row is None:
        return f"no operation {node.op!r} in this form"
    if node.name in types:
        return "the name is defined twice"
    missing = [f"%{name}" for name in node.inputs if name not in types]
    if missing:
        return f"operand {missing[0]} is not defined above"
    if len(node.inputs) not in row.arity:
        return f"takes {' or '.join(map(str, row.arity))} operands, has {len(node.inputs)}"
    return (
        _type_problem(subgraph, node.type)
        or _attr_problem(node.attrs, attrs_of(node.op) or {})
        or row.rule(node, [types[name] for name in node.inputs])
    )


def _type_problem(subgraph: Subgraph, type: TensorType) -> str | None:
    if type.dtype not in ELEMENT_TYPES:
        return f"unknown element type {type.dtype!r}"
    unknown = [axis for axis in type.axes if axis not in subgraph.axes]
    if unknown:
        return f"axis {unknown[0]} is not declared"
    twice = [axis for axis in type.axes if type.axes.count(axis) > 1]
    return f"axis {twice[0]} appears twice in a type" if twice else None


def _attr_problem(attrs: Mapping[str, Any], legal: Mapping[str, Any]) -> str | None:
    for name, value in attrs.items():
        kind = legal.get(name, legal.get(f"?{name}"))
        if kind is None:
            return f"no attribute {name!r} here"
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            return f"attribute {name} has the value {value!r} of another type"
    missing = [name for name in legal if not name.startswith("?") and name not in attrs]
    return f"attribute {missing[0]} is missing" if missing else None


def _fault(subgraph: Subgraph, node: Node, problem: str) -> VerificationError:
    return VerificationError(f"%{node.name} ({node.op}): {problem}\n{around(subgraph, node)}")
