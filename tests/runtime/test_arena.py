"""Tests of ``snipjit/runtime/arena.py``."""

from __future__ import annotations

import ctypes

from hypothesis import given
from hypothesis import strategies as st

from snipjit.ir.call_args import CACHE_LINE
from snipjit.runtime.arena import Colouring, Life, allocate_in_huge_pages
from snipjit.runtime.huge_pages import HUGE

LIVES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(0, 5000)), max_size=12)


@given(LIVES, st.integers(0, 3))
def test_what_lives_at_once_lies_apart(drawn: list[tuple[int, int, int]], factor: int) -> None:
    lives = [Life(begin, begin + length) for begin, length, _ in drawn]
    colouring = Colouring.of(lives, [size for _, _, size in drawn])
    sizes = [size * factor for _, _, size in drawn[::-1]]  # colours stay at other sizes
    *starts, end = colouring.starts(sizes)
    assert all(start % CACHE_LINE == 0 for start in starts)
    places = [
        (starts[colour], starts[colour] + size)
        for colour, size in zip(colouring.colours, sizes, strict=True)
    ]
    assert all(stop <= end for _, stop in places)
    for one, (begin, stop) in enumerate(places):
        for two, (other, last) in enumerate(places[:one]):
            assert not lives[one].meets(lives[two]) or stop <= other or last <= begin


def test_a_chain_of_results_takes_two_colours() -> None:
    lives = [Life(n, n + 1) for n in range(20)]
    assert Colouring.of(lives, [64] * 20).count == 2


def test_blocks_begin_huge_pages() -> None:
    for size in (1, HUGE, HUGE + 1, 5 * HUGE - 3):
        block = allocate_in_huge_pages(size)
        assert block.size >= size
        assert block.address % (HUGE if size >= HUGE else CACHE_LINE) == 0
        ctypes.memset(block.address, 255, block.size)
