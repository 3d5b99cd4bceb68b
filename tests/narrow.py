"""The examples as a model of 16-bit type has them: each operation rounds its result."""

from __future__ import annotations

from dataclasses import replace

import torch

from snipjit.ir.element_types import ELEMENT_TYPES
from snipjit.ir.subgraph import Node, Subgraph, TensorType

MOVES = ("transpose", "view", "unsqueeze", "expand", "result")
FACTORS = {"matmul": 2, "sdpa": 3}
HALVES = tuple(row.name for row in ELEMENT_TYPES.values() if row.is_half)


def torch_type(dtype: str) -> torch.dtype:
    """torch's name of an element type."""
    found: torch.dtype = getattr(torch, ELEMENT_TYPES[dtype].torch)
    return found


def narrowed(subgraph: Subgraph, dtype: str) -> Subgraph:
    """A positional Subgraph of f32 with tensors of ``dtype`` in place of all that are f32."""
    return _Narrowing(dtype).run(subgraph)


class _Narrowing:
    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.nodes: dict[str, Node] = {}

    def run(self, subgraph: Subgraph) -> Subgraph:
        for node in subgraph.nodes:
            self.add(node)
        return subgraph.with_nodes(self.nodes.values())

    def add(self, node: Node) -> None:
        if node.op in ("parameter", *MOVES):
            source = self.nodes[node.inputs[0]].type.dtype if node.inputs else self.dtype
            dtype = source if node.type.dtype == "f32" else node.type.dtype
            self.nodes[node.name] = replace(node, type=TensorType(dtype, node.type.dims))
            return
        kept = FACTORS.get(node.op, 0)
        inputs = (*node.inputs[:kept], *map(self.wide, node.inputs[kept:]))
        node = replace(node, inputs=inputs)
        if not inputs or node.type.dtype != "f32":
            self.nodes[node.name] = node
            return
        exact = replace(node, name=f"{node.name}.exact")
        type = TensorType(self.dtype, node.type.dims)
        self.nodes[exact.name] = exact
        self.nodes[node.name] = Node(node.name, f"to_{self.dtype}", (exact.name,), type)

    def wide(self, name: str) -> str:
        type = self.nodes[name].type
        if type.dtype not in HALVES:
            return name
        node = Node(f"{name}.wide", "to_f32", (name,), TensorType("f32", type.dims))
        self.nodes.setdefault(node.name, node)
        return node.name
