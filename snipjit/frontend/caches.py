"""Caches that a graph takes in and returns longer: their new memory is what old ones have left."""

from __future__ import annotations

from torch import fx

from snipjit.passes.fx import grown_tensors
from snipjit.runtime.join_tensors import join_tensors


def recycle_caches(gm: fx.GraphModule) -> None:
    """Have joins of a cache and what is new take recycled memory. Recompiles the module.

    Before:  %keys = cat([%k, %new], -2)
    After:   %keys = join_tensors([%k, %new], -2)
    """
    found = list(grown_tensors(gm.graph))
    for node, tensors, dim in found:
        node.target, node.args, node.kwargs = join_tensors, ([*tensors], dim), {}
    if found:
        gm.graph.lint()
        gm.recompile()
