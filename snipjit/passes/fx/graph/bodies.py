"""Graphs inside a graph that run as they stand: of checkpoints, branches, loops and regions."""

from __future__ import annotations

import torch
from torch import fx

from snipjit.passes.fx.graph.gradients import derives_from_grad, mark_as_traced_again
from snipjit.torch_private import BRANCHES, CHECKPOINT, SET_GRAD_ENABLED


def with_bodies(gm: fx.GraphModule) -> list[fx.GraphModule]:
    """A graph module and the bodies that it calls as they stand, theirs included.

    A body runs in the grad mode of its call; where the graph changes the mode, which of them it is
    cannot be seen from inside, so the bodies are left alone. Those of ``torch.cond`` and its like
    are traced again if any operand requires grad, whether a candidate reads it or not; they are
    marked, and all candidates in them need gradients.
    """
    found, traced_again = [gm], {gm: False}
    for graph in found:
        if any(node.target is SET_GRAD_ENABLED for node in graph.graph.nodes):
            continue
        for node in graph.graph.find_nodes(op="get_attr"):
            body = getattr(graph, str(node.target), None)
            if not isinstance(body, fx.GraphModule) or not all(map(_calls_bodies, node.users)):
                continue
            if body not in traced_again:
                found.append(body)
            again = traced_again[graph] or any(_is_traced_again(graph, of) for of in node.users)
            traced_again[body] = again or traced_again.get(body, False)
    for body, again in traced_again.items():
        if again:
            mark_as_traced_again(body)
    return found


def _calls_bodies(node: fx.Node) -> bool:
    return node.target is CHECKPOINT or node.target in BRANCHES


def _is_traced_again(gm: fx.GraphModule, call: fx.Node) -> bool:
    """Whether a call of a body makes a backward graph of it."""
    if call.target is CHECKPOINT or not torch.is_grad_enabled():
        return False
    return any(derives_from_grad(gm, operand) for operand in call.all_input_nodes)
