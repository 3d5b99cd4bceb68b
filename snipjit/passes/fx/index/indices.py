"""Indices: a tensor whose elements are a number and the indices of its dims, added up."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from snipjit.ir.exact_integers import FARTHEST

WHOLE = (torch.int64, torch.int32)
ELEMENTS = (torch.float32, torch.bool, *WHOLE)


@dataclass(frozen=True)
class Indices:
    """``number + Σ sign · symbol + Σ factor · (index along the dim)``; a factor for each dim.

    ``symbols`` are numbers of the call, nodes by what tells them apart.
    """

    factors: tuple[int, ...]
    number: float = 0
    symbols: Mapping[Any, tuple[fx.Node, int]] = field(default_factory=dict)

    @property
    def is_constant(self) -> bool:
        """Whether every element is ``number``."""
        return not any(self.factors) and not self.symbols

    def without(self, symbols: Collection[Any], number: float) -> Indices:
        """This less some of its symbols, and less a number."""
        kept = {key: entry for key, entry in self.symbols.items() if key not in symbols}
        return Indices(self.factors, self.number - number, kept)

    def common(self, other: Indices) -> list[Any]:
        """The symbols that both add, or both subtract."""
        own, others = self.symbols, other.symbols
        return [key for key in own if key in others and own[key][1] == others[key][1]]

    def plus(self, other: Indices, sign: int) -> Indices | None:
        """Sum or difference with broadcasting, None where a number is not whole."""
        if not (is_whole(self.number) and is_whole(other.number)):
            return None
        rank = max(len(self.factors), len(other.factors))
        pairs = zip(padded(self.factors, rank), padded(other.factors, rank), strict=True)
        symbols = dict(self.symbols)
        for key, (node, count) in other.symbols.items():
            symbols[key] = (node, symbols.get(key, (node, 0))[1] + sign * count)
        kept = {key: entry for key, entry in symbols.items() if entry[1]}
        factors = tuple(a + sign * b for a, b in pairs)
        return checked(Indices(factors, self.number + sign * other.number, kept))


def padded(factors: Sequence[int], rank: int) -> tuple[int, ...]:
    """Factors with those of new leading dims."""
    return (*(0,) * (rank - len(factors)), *factors)


def is_whole(number: float) -> bool:
    """Whether a number is finite and an integer."""
    return math.isfinite(number) and number == int(number)


def checked(found: Indices) -> Indices | None:
    """None where float32 may not hold the elements, or an index counts twice."""
    small = abs(found.number) < FARTHEST and max(map(abs, found.factors), default=0) <= 1
    return found if small and all(abs(n) == 1 for _, n in found.symbols.values()) else None
