"""Sizes that a call tells, as values: ``%h.size(-1)`` becomes a scalar of the call."""

from __future__ import annotations

from snipjit.passes.fx.graph.head_scale import Length
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.traced import Size, same, tensor


def length(writer: SubgraphWriter, size: Size) -> str | None:
    """A scalar that is a size, read off an operand that has it in a dim; None if none has."""
    for node in writer.tensors.values():
        for dim, own in enumerate(tensor(node).shape):
            if same(own, size):
                return writer.scalar(Length(node, dim))
    return None
