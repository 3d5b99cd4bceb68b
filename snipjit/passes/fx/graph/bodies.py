"""Graphs inside a graph: the bodies of activation checkpoints, which run as they stand."""

from __future__ import annotations

from torch import fx

from snipjit.torch_private import CHECKPOINT, SET_GRAD_ENABLED


def with_bodies(gm: fx.GraphModule) -> list[fx.GraphModule]:
    """A graph module and the bodies of its activation checkpoints, theirs included.

    A body runs in the grad mode of its call; where the graph changes the mode, which of them it is
    cannot be seen from inside, so the bodies are left alone.
    """
    found = [gm]
    for graph in found:
        if any(node.target is SET_GRAD_ENABLED for node in graph.graph.nodes):
            continue
        for node in graph.graph.find_nodes(op="get_attr"):
            body = getattr(graph, str(node.target), None)
            if isinstance(body, fx.GraphModule) and all(map(_is_checkpoint, node.users)):
                found.append(body)
    return found


def _is_checkpoint(node: fx.Node) -> bool:
    return node.target is CHECKPOINT
