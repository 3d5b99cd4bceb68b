"""Operands whose heads are innermost are laid out once, for all kernels that read them.

T5 looks a bias up as ``[queries, keys, heads]`` and permutes it: one task's elements, which are of
one head, lie in as many cache lines as there are elements, and each of its layers would read all
of these for every head. ::

    before:  %bias = permute(%found, (2, 0, 1))             strides (1, keys * heads, heads)
             %y0 = launch(…, %bias)   %y1 = launch(…, %bias)
    after:   %bias = permute(%found, (2, 0, 1))
             %clone = clone(%bias, contiguous)
             %y0 = launch(…, %clone)  %y1 = launch(…, %clone)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from snipjit.passes.fx.graph.candidate import Candidate
from snipjit.passes.fx.nodes.in_place import all_mutated
from snipjit.passes.fx.nodes.traced import storage, traced_value
from snipjit.torch_private import statically_true

_DENSE = "snipjit_dense"
"""Marks a clone that more kernels may read."""


def dense_operand(node: fx.Node, candidate: Candidate, place: fx.Node) -> fx.Node:
    """What a call before ``place`` reads in place of ``node``: itself, or a clone of it."""
    if not (_streams(candidate) and _heads_innermost(node)):
        return node
    if _is_written(node):
        return _clone(node, place)
    shared = (user for user in node.users if user.meta.get(_DENSE))
    return next(shared, None) or _shared_clone(node)


def _streams(candidate: Candidate) -> bool:
    """Whether tasks read operands that are as large as a matrix of scores."""
    return any(node.op in ("softmax", "sdpa") for node in candidate.subgraph.nodes)


def _heads_innermost(node: fx.Node) -> bool:
    """Whether neighbours in memory are of different matrices, and never of one."""
    given = traced_value(node)
    if not isinstance(given, torch.Tensor) or given.dim() < 3:
        return False
    *outer, row, column = given.stride()
    sizes = given.shape
    inner = (i for i, step in enumerate(outer) if statically_true(step == 1))
    is_apart = statically_true(row > 1) and statically_true(column > 1)
    return is_apart and any(statically_true(sizes[i] != 1) for i in inner)


def _is_written(node: fx.Node) -> bool:
    """Whether anything in the graph changes its memory, so that no clone of it lasts."""
    changed = (target for other in node.graph.nodes for target in all_mutated(other))
    return storage(node) in map(storage, changed)


def _shared_clone(node: fx.Node) -> fx.Node:
    """A clone that every later node may read."""
    after = node
    while after.op == "placeholder" and after.next.op == "placeholder":
        after = after.next
    clone = _clone(node, after.next)
    clone.meta[_DENSE] = True
    return clone


def _clone(node: fx.Node, place: fx.Node) -> fx.Node:
    kept: dict[str, Any] = {"memory_format": torch.contiguous_format}
    with node.graph.inserting_before(place):
        clone = node.graph.call_method("clone", (node,), kept)
    key = "example_value" if "example_value" in node.meta else "val"
    clone.meta[key] = traced_value(node).clone(**kept)
    return clone
