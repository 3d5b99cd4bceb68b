"""Recycled memory: for large results that replace one another, a little larger each time.

The C library maps what is larger than anything freed before anew, and the system fills each of its
pages with zeros when it is first touched: of a cache of keys that grows by a token at a time all of
it, at each token, which takes three to six times as long as to write it. What a tensor leaves here
is kept for the next one, and is no more than what tensors have: it goes when they go.
"""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import torch

from snipjit.runtime.huge_pages import fills_huge_pages, map_huge_pages

CLASSES = 8
"""Sizes of blocks between a power of two and the next: what grows a little fits the same ones."""

Mapped = tuple[mmap.mmap, int]
"""Memory, and where in it a block begins."""


@dataclass(frozen=True, eq=False)
class Block:
    """Some bytes of a mapping."""

    memory: mmap.mmap = field(repr=False)
    begin: int
    size: int


@dataclass(eq=False)
class RecycledMemory:
    """Tensors without values, whose memory serves others when the last view of them has gone.

    There is no lock: each step on a list or dict is atomic, and what two threads do at once costs
    but a mapping. A tensor may go at any moment, also within these functions.
    """

    map: Callable[[int], Mapped] = map_huge_pages
    _spare: list[Block] = field(default_factory=list)
    _lent: dict[int, Block] = field(default_factory=dict)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """A contiguous tensor without values; one that fills no huge page is one like any other."""
        count = prod(shape)
        if not fills_huge_pages(size := count * dtype.itemsize):
            return torch.empty(shape, dtype=dtype, device="cpu")
        block = self._take(size) or self._map(size)
        lent = memoryview(block.memory)[block.begin : block.begin + size]
        self._lent[id(block)] = block
        weakref.finalize(lent, self._give, block).atexit = False
        # The storage, and nothing else from here on, keeps ``lent``.
        return torch.frombuffer(lent, dtype=dtype, count=count).resize_(*shape)

    @property
    def lent_bytes(self) -> int:
        """Bytes of blocks that tensors have."""
        return sum([block.size for block in tuple(self._lent.values())])

    @property
    def spare_bytes(self) -> int:
        """Bytes of blocks that none has."""
        return sum([block.size for block in tuple(self._spare)])

    def _take(self, size: int) -> Block | None:
        """The smallest spare block that fits, unless it is far too large."""
        fits = [block for block in tuple(self._spare) if size <= block.size <= 2 * size]
        for block in sorted(fits, key=lambda block: block.size):
            try:
                self._spare.remove(block)
            except ValueError:  # another thread has it
                continue
            return block
        return None

    def _map(self, size: int) -> Block:
        unit = (1 << size.bit_length() - 1) // CLASSES
        size = -(-size // unit) * unit
        return Block(*self.map(size), size)

    def _give(self, block: Block) -> None:
        """Keep a block that no tensor has any more; drop old ones beyond what tensors have."""
        self._lent.pop(id(block), None)
        self._spare.append(block)
        while self.spare_bytes > self.lent_bytes:
            try:
                self._spare.pop(0)
            except IndexError:
                return


RECYCLED = RecycledMemory()
"""The process's store."""
