"""PairAccess: pairs of 16-bit elements in memory, whole where they are neighbours there."""

from __future__ import annotations

from math import gcd

from llvmlite import ir

from snipjit.errors import UnsupportedError
from snipjit.passes.llvm.emission import Emission
from snipjit.passes.llvm.pairs import interleave_halves, join_halves
from snipjit.passes.llvm.strided_access import StridedAccess
from snipjit.passes.llvm.tile import Index, Tile
from snipjit.passes.llvm.vector_ir import I32


class PairAccess(StridedAccess):
    """One Load or Store of pairs along an axis.

    A buffer of pairs holds them whole, and so does an input whose innermost axis that is. Else
    halves are loaded and joined; where a tile has one element of the axis, zero is the other one.
    """

    def __init__(self, emission: Emission, name: str, pairs: str, loads: bool) -> None:
        super().__init__(emission, name, pairs)
        self.axis = pairs
        self.single = emission.scope.counts.get(pairs, 1) == 1
        self.whole = self.is_buffer or self.unit == pairs
        if loads and self.single and (not self.is_buffer or self.tensor.axes[-1] == pairs):
            self.whole = False
        if self.lanes == pairs and not self.whole:
            raise UnsupportedError(f"pairs of %{name} lie apart in memory, in lanes side by side")
        self.by_rows = False
        if self.is_buffer and self.lanes is not None:
            self.contiguous = self.tensor.axes[-1] == self.lanes
        self.run = 1
        if self.whole:
            self.type, self.held = I32, 2
            count = self.scope.counts.get(pairs, 1) // 2
            strided = self.lanes is not None and not self.contiguous
            in_rows = strided and self.unit == pairs and not self.single
            self.run = gcd(count, emission.width) if in_rows else 1

    def load_element(self, index: Index) -> ir.Value:
        """The pair that begins at an element."""
        if self.whole:
            return super().load_element(index)
        return self.joined([super(PairAccess, self).load_element(at) for at in self.halves(index)])

    def load_vectors(self, tile: Tile, index: Index) -> ir.Value:
        """Two vectors of pairs at once, if halves are to be joined and the tile has both."""
        width, lanes = self.emission.width, self.lanes
        first = index.get(lanes, 0) if lanes else 0
        end = first - first % (2 * width) + 2 * width
        if self.whole or self.single or lanes is None or end > self.scope.counts[lanes]:
            return self.load_vector(index)
        if self.emission.is_partial(lanes, end - 1):
            return self.load_vector(index)
        starts = [{**index, lanes: end - 2 * width}, {**index, lanes: end - width}]
        rows = [self.load_run(self.place(at), 2 * width) for at in self.halves(starts[0])]
        for at, pairs in zip(starts, interleave_halves(self.emission.builder, *rows), strict=True):
            tile.made[tuple(at.get(axis, 0) for axis in tile.axes)] = pairs
        return tile.made[tuple(index.get(axis, 0) for axis in tile.axes)]

    def load_vector(self, index: Index) -> ir.Value:
        """A vector of pairs."""
        if self.whole:
            return super().load_vector(index)
        return self.joined([super(PairAccess, self).load_vector(at) for at in self.halves(index)])

    def load_block(self, tile: Tile, index: Index) -> ir.Value:
        """Strided lanes, each with a run of whole pairs or with two halves."""
        if self.whole and self.run > 1:
            return super().load_block(tile, index)
        lanes = range(self.emission.width)
        rows = [
            [self.load_run(self.row(self.address(at), at, lane), 1) for lane in lanes]
            for at in ([index] if self.whole else self.halves(index))
        ]
        vectors = [self.gather(elements) for elements in rows]
        return vectors[0] if self.whole else self.joined(vectors)

    def halves(self, index: Index) -> list[Index]:
        """Where the halves of a pair are."""
        second = {**index, self.axis: index.get(self.axis, 0) + 1}
        return [index] if self.single else [index, second]

    def joined(self, halves: list[ir.Value]) -> ir.Value:
        """Halves as a pair."""
        return join_halves(self.emission.builder, halves[0], *halves[1:])

    def from_memory(self, value: ir.Value) -> ir.Value:
        """Pairs are in registers as they are in memory."""
        return value

    def to_memory(self, value: ir.Value) -> ir.Value:
        """Pairs are in memory as they are in registers."""
        return value
