"""Tests of ``snipjit/runtime/scratchpad.py``."""

from __future__ import annotations

import ctypes

from snipjit.ir.call_args import CACHE_LINE
from snipjit.runtime import scratchpad
from snipjit.runtime.scratchpad import KEEP_BYTES, Block, Scratchpads, pitch
from tests.guard import survives


def counting() -> tuple[Scratchpads, list[int]]:
    sizes: list[int] = []

    def allocate(size: int) -> Block:
        sizes.append(size)
        return Block(CACHE_LINE * len(sizes), size, None)

    return Scratchpads(allocate), sizes


def test_pitch_is_whole_cache_lines() -> None:
    assert [pitch(n) for n in (0, 1, 64, 65)] == [0, 64, 64, 128]


def test_blocks_are_aligned_and_writable_to_the_end() -> None:
    block = scratchpad.allocate(100)
    assert block.address % CACHE_LINE == 0
    assert block.size >= 100
    ctypes.memset(block.address, 255, block.size)


def test_a_block_is_used_again() -> None:
    store, sizes = counting()
    block = store.take(100)
    store.give(block)
    assert store.take(50) is block
    assert sizes == [100]


def test_a_larger_block_replaces_a_smaller_one() -> None:
    store, sizes = counting()
    store.give(store.take(100))
    store.give(store.take(200))
    assert sizes == [100, 200]
    assert store.kept_bytes() == 200


def test_calls_that_overlap_have_blocks_of_their_own() -> None:
    store, _ = counting()
    assert store.take(64) is not store.take(64)


def test_what_is_kept_is_bounded() -> None:
    store, _ = counting()
    blocks = [store.take(KEEP_BYTES // 2) for _ in range(5)]
    for block in blocks:
        store.give(block)
    assert store.kept_bytes() == KEEP_BYTES


def test_a_forked_child_does_not_share_a_block() -> None:
    block = scratchpad.allocate(64)
    ctypes.memset(block.address, 1, 64)
    assert survives(lambda: ctypes.memset(block.address, 2, 64))
    assert ctypes.string_at(block.address, 64) == bytes([1]) * 64
