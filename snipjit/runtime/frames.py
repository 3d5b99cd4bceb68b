"""Frames: CallArgs in memory, one for each call under way.

What sizes and strides decide of the slots, a plan keeps as bytes; a call copies them into a frame
of the kernel. That takes 0.05 µs, and plans for a thousand lengths would hold as many frames.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from snipjit.ir.call_args import CACHE_LINE, told_by_sizes

Frame = tuple[memoryview, memoryview, memoryview, int]
"""CallArgs: the bytes that are copied into them, all slots as integers and as pairs of floats, the
address."""


class Frames(list[Frame]):
    """The frames of one kernel that no call uses. Lists append and pop atomically: no lock."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.slots, self.told = len(fields), told_by_sizes(fields)

    def make(self) -> Frame:
        """One more; it begins a cache line. Its slots are 0."""
        memory = np.zeros(self.slots + CACHE_LINE // 8, dtype=np.int64)
        start = (-memory.ctypes.data % CACHE_LINE) // 8
        slots = memory[start : start + self.slots]
        told = slots[: self.told].view(np.uint8)
        return told.data, slots.data, slots.view(np.float32).data, slots.ctypes.data

    def values(self, slots: Sequence[int]) -> bytes:
        """What a call copies into a frame for these values of all slots."""
        return array("q", slots[: self.told]).tobytes()
