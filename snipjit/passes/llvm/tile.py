"""Tile: the LLVM values of one register value, each made on demand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from llvmlite import ir

Index = Mapping[str, int]
"""The position in a tile: element number for each axis, vector number for the lanes axis."""


@dataclass
class Tile:
    """A value of ``axes``; ``make`` emits the element at an index when it is first asked for.

    Emission on demand follows each element through its chain of operations, from the store back
    to the load, so that few values are alive at a time.
    """

    dtype: str
    axes: tuple[str, ...]
    make: Callable[[Index], ir.Value]
    made: dict[tuple[int, ...], ir.Value] = field(default_factory=dict)
    splats: dict[tuple[int, ...], ir.Value] = field(default_factory=dict)
    operands: tuple[Tile, ...] = ()
    """The tiles from which each element is made, index by index."""

    def at(self, index: Index) -> ir.Value:
        """The element at an index, which may name more axes than the tile has."""
        slot = tuple(index.get(axis, 0) for axis in self.axes)
        if slot not in self.made:
            self.made[slot] = self.make(index)
        return self.made[slot]

    def force(self, counts: Mapping[str, int]) -> Tile:
        """Emit every element now."""
        for index in indices(self.axes, counts):
            self.at(index)
        return self


def indices(axes: tuple[str, ...], counts: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Every index of a tile, the last axis fastest."""
    ranges = [range(counts.get(axis, 1)) for axis in axes]
    for position in itertools.product(*ranges):
        yield dict(zip(axes, position, strict=True))


def given(dtype: str, axes: tuple[str, ...], values: dict[tuple[int, ...], ir.Value]) -> Tile:
    """A tile whose elements exist already."""

    def missing(index: Index) -> ir.Value:
        raise KeyError(f"no element at {dict(index)}")

    return Tile(dtype, axes, missing, values)
