"""Tests of ``snipjit/runtime/frames.py``."""

from __future__ import annotations

from snipjit.ir.call_args import CACHE_LINE
from snipjit.runtime.frames import Frames

FIELDS = ("counter", "worker", "tasks", "size.m", "arrived.0", "arrived.1")


def test_a_frame_is_what_its_address_says() -> None:
    frames = Frames(FIELDS)
    for told, slots, floats, address in [frames.make() for _ in range(9)]:
        assert address % CACHE_LINE == 0
        assert (len(told), len(slots), len(floats)) == (4 * 8, 6, 2 * 6)
        assert slots.tolist() == [0] * 6
        slots[1] = 1 << 40
        slots[2] = 0x3F800000
        assert int.from_bytes(told[8:16], "little") == 1 << 40
        assert floats[4] == 1.0
    assert not frames


def test_values_leave_the_kernels_own_counts_alone() -> None:
    frames = Frames(FIELDS)
    told, slots, _, _ = frames.make()
    slots[4] = slots[5] = 7
    told[:] = frames.values([0, -1, 1 << 47, 3, 0, 0])
    assert slots.tolist()[:4] == [0, -1, 1 << 47, 3]
    assert slots.tolist()[4:] == [7, 7]
