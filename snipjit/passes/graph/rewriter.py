"""Rewriter: builds the Subgraph a pass returns, node by node, with fresh names for new nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from snipjit.ir.subgraph import Node, Subgraph, TensorType


class Rewriter:
    """Collects nodes; users of a replaced node read its replacement from then on."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.source = subgraph
        self.axes: dict[str, int | None] = dict(subgraph.axes)
        self._names = set(subgraph.by_name)
        self._renames: dict[str, str] = {}
        self._nodes: dict[str, Node] = {}

    def __getitem__(self, name: str) -> Node:
        """A node added before."""
        return self._nodes[name]

    def type(self, name: str) -> TensorType:
        """The type of a value added before."""
        return self._nodes[name].type

    def renamed(self, node: Node) -> Node:
        """A node of the source that reads the replacements of its operands."""
        return node.with_inputs(self._renames)

    def keep(self, node: Node) -> str:
        """Add a node under its own name; its operands must be new names already."""
        self._nodes[node.name] = node
        return node.name

    def replace(self, old: str, new: str) -> None:
        """Let later readers of ``old`` read ``new``."""
        self._renames[old] = new

    def add(self, hint: str, op: str, type: TensorType, *inputs: str, **attrs: Any) -> str:
        """Add a node under a fresh name that begins with ``hint``."""
        name, number = hint, 0
        while name in self._names:
            number += 1
            name = f"{hint}.{number}"
        self._names.add(name)
        return self.keep(Node(name, op, inputs, type, attrs))

    def constant(self, hint: str, value: float, dtype: str = "f32") -> str:
        """Add a constant."""
        return self.add(hint, "constant", TensorType(dtype), value=value)

    def to_f32(self, name: str) -> str:
        """A value as f32."""
        type = self.type(name)
        if type.dtype == "f32":
            return name
        return self.add(f"{name}.wide", "to_f32", TensorType("f32", type.dims), name)

    def fresh_axis(self, hint: str) -> str:
        """A new dynamic axis."""
        name, number = hint, 0
        while name in self.axes:
            number += 1
            name = f"{hint}{number}"
        self.axes[name] = None
        return name

    def subgraph(self) -> Subgraph:
        """What was collected, under the name of the source."""
        return Subgraph(self.source.name, self.axes, tuple(self._nodes.values()))


Rule = Callable[[Rewriter, Node], str]
"""Adds what replaces a node and returns the name of the value that stands for it."""


def rewrite(subgraph: Subgraph, rules: Mapping[str, Rule]) -> Subgraph:
    """Apply to each node the rule of its operation; nodes without one are kept."""
    out = Rewriter(subgraph)
    for node in subgraph.nodes:
        rule = rules.get(node.op)
        renamed = out.renamed(node)
        new = out.keep(renamed) if rule is None else rule(out, renamed)
        if new != node.name:
            out.replace(node.name, new)
    return out.subgraph()
