"""A tensor after a write into a part of it, as a node of its own."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def written(base: T, write: object) -> T:
    """``base`` once the node ``write`` has changed it: a graph that calls this keeps its meaning.

    It gives what Python leaves without a name: ``x[0] = 1`` has no value, and ``x[0].mul_(2)`` has
    that of the part.
    """
    return base
