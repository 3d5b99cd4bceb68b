"""Across: vectors combined across their lanes, by addition, maximum, or whatever combines.

As many vectors as each has lanes are combined together, each into one lane of the result: a square
transpose (``emit_transpose.py``) with a combination in every stage, in which two neighbours become
one, so that half of the vectors is gone after each: ``width - 1`` combinations and twice as many
shuffles in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from llvmlite import ir

from snipjit.passes.llvm.vector_ir import I32, QUAD, interleave, pick

Combine = Callable[[ir.Value, ir.Value], ir.Value]


@dataclass
class Across:
    """Takes vectors one by one and combines two of a stage at once, so that few are alive."""

    builder: ir.IRBuilder
    combine: Combine
    stages: list[ir.Value | None] = field(default_factory=list)

    def add(self, vector: ir.Value) -> None:
        """The vector of the next lane."""
        stage = 0
        while stage < len(self.stages) and (other := self.stages[stage]) is not None:
            vector = self.combine(*interleave(self.builder, other, vector, min(1 << stage, QUAD)))
            self.stages[stage] = None
            stage += 1
        self.stages += [None] * (stage + 1 - len(self.stages))
        self.stages[stage] = vector

    def lanes(self) -> ir.Value:
        """One lane for each vector, of which there were as many as each has lanes."""
        return self.stages[-1]

    def element(self) -> ir.Value:
        """The lanes of the one vector that was added: halves of it, and halves of those."""
        (vector,) = self.stages
        assert vector is not None
        while (width := vector.type.count) > 2:
            half = width // 2
            low, high = (pick(self.builder, vector, range(i, i + half)) for i in (0, half))
            vector = self.combine(low, high)
        parts = [self.builder.extract_element(vector, ir.Constant(I32, i)) for i in (0, 1)]
        return self.combine(*parts)
