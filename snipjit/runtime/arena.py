"""Arena: one piece of memory a call, for the results of a chain that no one else sees.

Results that live at the same time get different *colours*, decided once, at the first sizes; at
each sizes a colour is as large as the largest result of it. A result lives from the phase of the
launch that makes it to that of the last that reads it. Memory belongs to one call at a time, as a
scratchpad does, and is kept for the next call of any chain.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from snipjit.runtime.huge_pages import HUGE, fills_huge_pages, map_huge_pages
from snipjit.runtime.scratchpad import Block, Scratchpads, allocate, pitch


class Life(NamedTuple):
    """When a result is made and last read, by the numbers of phases."""

    begin: int
    end: int

    def meets(self, other: Life) -> bool:
        """Whether both hold values during some phase."""
        return self.begin <= other.end and other.begin <= self.end


@dataclass(frozen=True)
class Colouring:
    """The colour of each result, which are numbered from 0."""

    colours: tuple[int, ...]
    count: int

    @staticmethod
    def of(lives: Sequence[Life], sizes: Sequence[int]) -> Colouring:
        """Large results first, each to the tightest colour that is free during its life."""
        taken: list[list[Life]] = []
        colours = [0] * len(lives)
        for number in sorted(range(len(lives)), key=lambda n: -sizes[n]):
            free = [c for c, of in enumerate(taken) if not any(map(lives[number].meets, of))]
            if not free:
                free = [len(taken)]
                taken.append([])
            colours[number] = free[-1]  # they were begun in falling order of their sizes
            taken[free[-1]].append(lives[number])
        return Colouring(tuple(colours), len(taken))

    def starts(self, sizes: Sequence[int]) -> list[int]:
        """Where each colour begins for some sizes (bytes), and at last where the arena ends."""
        widths = [0] * self.count
        for colour, size in zip(self.colours, sizes, strict=True):
            widths[colour] = max(widths[colour], pitch(size))
        return [0, *accumulate(widths)]


def allocate_in_huge_pages(size: int) -> Block:
    """A block that begins a huge page and has them as far as it fills them; small ones none."""
    if not fills_huge_pages(size):
        return allocate(size)
    size = -(-size // HUGE) * HUGE
    memory, begin = map_huge_pages(size)
    return Block(ctypes.addressof(ctypes.c_char.from_buffer(memory)) + begin, size, memory)


ARENAS = Scratchpads(allocate_in_huge_pages)
"""The process's store."""
