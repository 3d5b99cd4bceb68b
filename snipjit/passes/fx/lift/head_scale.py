"""Scalars that follow from a symbolic size: nodes that compute them are written into the graph."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass

from torch import fx

from snipjit.passes.fx.graph.candidate import Scalar
from snipjit.passes.fx.nodes.traced import tensor


@dataclass(frozen=True)
class HeadScale:
    """``1 / sqrt(query.size(-1))``, a scalar that the graph does not hold yet."""

    query: fx.Node


@dataclass(frozen=True)
class Length(HeadScale):
    """``query.size(dim)`` instead."""

    dim: int


def materialize(scalars: Iterable[Scalar | HeadScale], place: fx.Node) -> tuple[Scalar, ...]:
    """The scalars with every HeadScale written into the graph before ``place``."""
    return tuple(_nodes(s, place) if isinstance(s, HeadScale) else s for s in scalars)


def _nodes(scale: HeadScale, place: fx.Node) -> fx.Node:
    key = "val" if "val" in scale.query.meta else "example_value"
    dim = scale.dim if isinstance(scale, Length) else -1
    size = tensor(scale.query).shape[dim]
    with place.graph.inserting_before(place):
        length = place.graph.call_method("size", (scale.query, dim))
        length.meta[key] = size
        if isinstance(scale, Length):
            return length
        result = place.graph.call_function(operator.pow, (length, -0.5))
    result.meta[key] = size**-0.5
    return result
