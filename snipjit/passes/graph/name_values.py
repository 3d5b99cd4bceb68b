"""NameValues: values get names that do not depend on the model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from snipjit.ir.subgraph import Subgraph
from snipjit.passes.base import Pass

PREFIXES = {"parameter": "p", "scalar": "s", "result": "r"}


@dataclass(frozen=True)
class NameValues(Pass):
    """Parameters become p0, p1, …, scalars s0, …, results r0, …, and all others are numbered.

    Equal structures then print equally, and share a kernel.

    Before:  %query = parameter : f32[m]
             %exp_1 = exp %query : f32[m]
             %output = result %exp_1 {order=(0)} : f32[m]
    After:   %p0 = parameter : f32[m]
             %0 = exp %p0 : f32[m]
             %r0 = result %0 {order=(0)} : f32[m]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph with other names."""
        names: dict[str, str] = {}
        counts: Counter[str] = Counter()
        for node in subgraph.nodes:
            prefix = PREFIXES.get(node.op, "")
            names[node.name] = f"{prefix}{counts[prefix]}"
            counts[prefix] += 1
        return subgraph.with_nodes(
            replace(node.with_inputs(names), name=names[node.name]) for node in subgraph.nodes
        )
