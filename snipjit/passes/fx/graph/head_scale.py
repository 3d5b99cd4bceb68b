"""Scalars that follow from a symbolic size: nodes that compute them are written into the graph."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from torch import fx

from snipjit.passes.fx.nodes.traced import tensor


@dataclass(frozen=True)
class HeadScale:
    """``1 / sqrt(query.size(-1))``, a scalar that the graph does not hold yet."""

    query: fx.Node

    def written(self, query: fx.Node, place: fx.Node) -> fx.Node:
        """The scalar in the graph, before ``place``; ``query`` is where its tensor is now."""
        key = "val" if "val" in self.query.meta else "example_value"
        size = tensor(self.query).shape[-1]
        with place.graph.inserting_before(place):
            length = place.graph.call_method("size", (query, -1))
            result = place.graph.call_function(operator.pow, (length, -0.5))
        length.meta[key], result.meta[key] = size, size**-0.5
        return result


@dataclass(frozen=True)
class Length(HeadScale):
    """``query.size(dim)`` instead."""

    dim: int

    def written(self, query: fx.Node, place: fx.Node) -> fx.Node:
        """The scalar in the graph, before ``place``; ``query`` is where its tensor is now."""
        with place.graph.inserting_before(place):
            length = place.graph.call_method("size", (query, self.dim))
        key = "val" if "val" in self.query.meta else "example_value"
        length.meta[key] = tensor(self.query).shape[self.dim]
        return length
