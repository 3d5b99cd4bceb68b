"""Tile: the LLVM values of one register value, each made on demand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from llvmlite import ir

Index = Mapping[str, int]
"""The position in a tile: an element of each axis, of the vector's axis its first."""


@dataclass
class Tile:
    """A value of ``axes``; ``make`` emits what stands at an index when it is first asked for.

    Emission on demand follows each element through its chain of operations, from the store back
    to the load, so that few values are alive at a time. ``vector`` is the axis of which each value
    holds ``width`` elements in lanes, if there is one; ``make_element`` emits a single element
    where that is cheaper than to take it out of the vector, ``make_splat`` one in every lane where
    that is cheaper than to broadcast the element. Of ``pairs`` each element holds two neighbours,
    which share the index of the first.
    """

    dtype: str
    axes: tuple[str, ...]
    make: Callable[[Index], ir.Value]
    vector: str | None = None
    width: int = 1
    make_element: Callable[[Index], ir.Value] | None = None
    made: dict[tuple[int, ...], ir.Value] = field(default_factory=dict)
    make_splat: Callable[[Index], ir.Value] | None = None
    splats: dict[tuple[int, ...], ir.Value] = field(default_factory=dict)
    operands: tuple[Tile, ...] = ()
    """The tiles from which each element is made, index by index."""
    pairs: str | None = None

    def at(self, index: Index) -> ir.Value:
        """The element at an index, which may name more axes than the tile has."""
        slot = tuple(index.get(axis, 0) for axis in self.axes)
        if slot not in self.made:
            self.made[slot] = self.make(index)
        return self.made[slot]

    def force(self, counts: Mapping[str, int]) -> Tile:
        """Emit every element now."""
        for index in self.indices(counts):
            self.at(index)
        return self

    def indices(self, counts: Mapping[str, int]) -> Iterator[dict[str, int]]:
        """The index of every value of the tile, given how many elements it has of each axis."""
        return indices(self.axes, counts, steps(self.vector, self.width, self.pairs))


def steps(vector: str | None, width: int, pairs: str | None = None) -> dict[str, int]:
    """The steps of a tile's indices along the axes of its vectors and pairs."""
    found = {pairs: 2} if pairs else {}
    return {**found, vector: width * found.get(vector, 1)} if vector else found


def indices(
    axes: tuple[str, ...], counts: Mapping[str, int], steps: Mapping[str, int]
) -> Iterator[dict[str, int]]:
    """Every index along some axes, the last one fastest; ``steps`` of axes that go by vectors."""
    ranges = [range(0, counts.get(axis, 1), steps.get(axis, 1)) for axis in axes]
    for position in itertools.product(*ranges):
        yield dict(zip(axes, position, strict=True))
