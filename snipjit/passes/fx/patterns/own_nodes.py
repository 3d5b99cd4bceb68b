"""A candidate's own nodes as a function: what PyTorch runs where that is the better way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from snipjit.passes.fx.graph.candidate import Candidate
from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.products import PRODUCTS
from snipjit.passes.fx.nodes.calls import lookup


def own_nodes(candidate: Candidate) -> Callable[..., Any] | None:
    """What a candidate's nodes compute of its tensors and scalars: one result, or a tuple.

    None where neither a fused attention of PyTorch nor a product and what is computed of its
    elements, which alone may be the better way, is all there is, or where they need anything but
    the call's arguments.
    """
    ops = [call.op if (call := lookup(node)) is not None else "" for node in candidate.nodes]
    fused = "sdpa" in ops or all(op in PRODUCTS or is_elementwise(op) for op in ops)
    graph, known = fx.Graph(), dict[fx.Node, fx.Node]()
    for number, argument in enumerate((*candidate.tensors, *candidate.scalars)):
        place = graph.placeholder(f"a{number}")
        if isinstance(argument, fx.Node):
            known[argument] = place
    for node in candidate.nodes:
        if node in known:
            continue
        given = all(source in known for source in node.all_input_nodes)
        if not fused or not given or node.op not in ("call_function", "call_method"):
            return None
        known[node] = graph.node_copy(node, known.__getitem__)
    results = tuple(known[output] for output in candidate.outputs)
    graph.output(results if len(results) > 1 else results[0])
    function: Callable[..., Any] = fx.GraphModule(torch.nn.Module(), graph).forward
    return function
