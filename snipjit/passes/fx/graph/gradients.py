"""Whether a candidate would need gradients, which a compiled call does not give."""

from __future__ import annotations

import torch
from torch import fx

from snipjit.passes.fx.graph.candidate import Candidate
from snipjit.passes.fx.nodes.traced import value
from snipjit.torch_private import SET_GRAD_ENABLED

NEEDS_GRAD = "an input requires grad, which a kernel does not compute; use torch.no_grad()"
"""The reason to leave a candidate to PyTorch."""
_TRACED_AGAIN = "snipjit_traced_again"


def mark_as_traced_again(body: fx.GraphModule) -> None:
    """Note of a graph inside another one that torch makes a backward graph of it."""
    body.meta[_TRACED_AGAIN] = True


def forget_mark(body: fx.GraphModule) -> None:
    """Drop the note."""
    body.meta.pop(_TRACED_AGAIN, None)


def needs_grad(gm: fx.GraphModule, candidate: Candidate) -> bool:
    """Whether grad mode is on at the candidate and an operand requires grad, or derives from one.

    Dynamo's example values say it of every node; ATen graphs only of their inputs and parameters,
    so there the producers are searched.
    """
    if gm.meta.get(_TRACED_AGAIN):
        return True
    if not _grad_mode(gm.graph, candidate.nodes[-1]):
        return False
    arguments = (*candidate.tensors, *candidate.scalars)
    return any(derives_from_grad(gm, node) for node in arguments if isinstance(node, fx.Node))


def _grad_mode(graph: fx.Graph, place: fx.Node) -> bool:
    enabled = torch.is_grad_enabled()
    for node in graph.find_nodes(op="call_function", target=SET_GRAD_ENABLED):
        if node < place:
            enabled = node.args[0] is True
    return enabled


def derives_from_grad(gm: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a value requires grad, or is made of one that does."""
    seen: set[fx.Node] = set()
    pending = [node]
    while pending:
        here = pending.pop()
        if here in seen:
            continue
        seen.add(here)
        if _marked(gm, here):
            return True
        if not isinstance(here.meta.get("example_value"), torch.Tensor):
            pending += here.all_input_nodes
    return False


def _marked(gm: fx.GraphModule, node: fx.Node) -> bool:
    found = value(node)
    if found is None and node.op == "get_attr":
        found = _attribute(gm, str(node.target))
    return isinstance(found, torch.Tensor) and found.requires_grad


def _attribute(gm: fx.GraphModule, path: str) -> object:
    found: object = gm
    for name in path.split("."):
        found = getattr(found, name, None)
    return found
