"""Scratchpad: the memory a kernel call works in, beyond its inputs and outputs.

Blocks are kept for the next call of any kernel. A block belongs to one call at a time, so calls
may overlap in any way. One block is always kept; more, as long as they fit into ``KEEP_BYTES``.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from dataclasses import dataclass, field

from snipjit.ir.call_args import CACHE_LINE

KEEP_BYTES = 64 << 20
"""The most memory that several unused blocks may hold together."""


def pitch(scratch_bytes: int) -> int:
    """Bytes from one worker's part to the next: whole cache lines, so that none is shared."""
    return -(-scratch_bytes // CACHE_LINE) * CACHE_LINE


@dataclass(frozen=True)
class Block:
    """Memory at an address that is a multiple of ``CACHE_LINE``, as long as ``owner`` lives."""

    address: int
    size: int
    owner: object = field(repr=False, compare=False)


def allocate(size: int) -> Block:
    """A block of its own memory mapping, of whole pages, which a forked child does not share."""
    size = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return Block(ctypes.addressof(ctypes.c_char.from_buffer(memory)), size, memory)


@dataclass
class Scratchpads:
    """A store of blocks. Lists append and pop atomically, so the way of a seen call has no lock."""

    allocate: Callable[[int], Block] = allocate
    _free: list[Block] = field(default_factory=list)

    def take(self, size: int) -> Block:
        """A block of at least ``size`` bytes. The smaller one it replaces is freed."""
        try:
            block = self._free.pop()
        except IndexError:
            return self.allocate(size)
        return block if block.size >= size else self.allocate(size)

    def give(self, block: Block) -> None:
        """Keep a block for the next call, if the store is not full."""
        if not self._free or block.size + self.kept_bytes() <= KEEP_BYTES:
            self._free.append(block)

    def kept_bytes(self) -> int:
        """Bytes in unused blocks."""
        return sum([block.size for block in tuple(self._free)])


SCRATCHPADS = Scratchpads()
"""The process's store."""
