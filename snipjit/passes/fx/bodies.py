"""Graphs inside a graph: the bodies of activation checkpoints, which run as they stand."""

from __future__ import annotations

import torch
from torch import fx


def with_bodies(gm: fx.GraphModule) -> list[fx.GraphModule]:
    """A graph module and the bodies of its activation checkpoints, theirs included.

    A body runs in the grad mode of its call; where the graph changes the mode, which of them it is
    cannot be seen from inside, so the bodies are left alone.
    """
    found = [gm]
    for graph in found:
        if any(node.target is torch._C._set_grad_enabled for node in graph.graph.nodes):
            continue
        for node in graph.graph.find_nodes(op="get_attr"):
            body = getattr(graph, str(node.target), None)
            if isinstance(body, fx.GraphModule) and all(map(_is_checkpoint, node.users)):
                found.append(body)
    return found


def _is_checkpoint(node: fx.Node) -> bool:
    return node.target is torch.ops.higher_order.tag_activation_checkpoint
