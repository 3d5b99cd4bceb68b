"""Limit: what the iterations of a loop need of an axis; the text form is in ``linear_ir.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor

LARGEST_SCALAR = 2**22
"""Scalars up to here limit loops: indices plus such a number are exact in float32."""


@dataclass(frozen=True)
class Limit:
    """What an iteration needs of another axis: ``upto`` or ``from`` the index ``of + offset``.

    The scalars ``plus`` belong to the offset, those of ``minus`` are taken off it.
    """

    axis: str
    sense: str
    of: str
    offset: int
    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()

    def left(
        self, ranges: Mapping[str, tuple[int, int]], scalars: Mapping[str, float]
    ) -> tuple[int, int]:
        """What remains of the range of ``axis``, given the (first, end) of every axis."""
        (start, stop), (first, end) = ranges[self.axis], ranges[self.of]
        if not all(abs(scalars[name]) <= LARGEST_SCALAR for name in (*self.plus, *self.minus)):
            return start, stop
        up, down = (ceil, floor) if self.sense == "upto" else (floor, ceil)
        offset = self.offset + sum(up(scalars[name]) for name in self.plus)
        offset -= sum(down(scalars[name]) for name in self.minus)
        if self.sense == "upto":
            return start, max(start, min(stop, end + offset))
        return start, stop if stop > first + offset else start
