"""Limit: what the iterations of a loop need of an axis; the text form is in ``ir/linear_ir.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor

from snipjit.ir.exact_integers import FARTHEST

Range = tuple[int, int]
"""The first index and the end of some elements along an axis."""


@dataclass(frozen=True)
class Limit:
    """What an iteration needs of another axis: ``upto`` or ``from`` the index ``of + offset``.

    Without an axis ``of`` the offset itself is the index. The scalars ``plus`` belong to it, those
    of ``minus`` are taken off it. The register ``when``, if there is one, says whether there is a
    limit at all.
    """

    axis: str
    sense: str
    of: str
    offset: int
    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()
    when: str = ""

    def left(self, ranges: Mapping[str, Range], scalars: Mapping[str, float]) -> Range:
        """What an iteration leaves of the range of ``axis``: upto an index, or all or nothing."""
        (start, stop), (first, end) = ranges[self.axis], self.within(ranges, scalars)
        return (start, end) if self.sense == "upto" else (start, stop if first < stop else start)

    def within(self, ranges: Mapping[str, Range], scalars: Mapping[str, float]) -> Range:
        """The part of the range of ``axis`` that some index of the range of ``of`` needs."""
        (start, stop), (first, end) = ranges[self.axis], ranges.get(self.of, (0, 1))
        if not all(abs(scalars[name]) <= FARTHEST for name in (*self.plus, *self.minus)):
            return start, stop
        up, down = (ceil, floor) if self.sense == "upto" else (floor, ceil)
        offset = self.offset + sum(up(scalars[name]) for name in self.plus)
        offset -= sum(down(scalars[name]) for name in self.minus)
        if self.sense == "upto":
            return start, max(start, min(stop, end + offset))
        return max(start, min(stop, first + offset)), stop
