"""Recycled memory: tensors like any others, whose memory serves the next ones."""

from __future__ import annotations

import copy
import gc
import mmap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils.dlpack import from_dlpack

from snipjit.runtime.huge_pages import HUGE, map_huge_pages
from snipjit.runtime.recycled_memory import Mapped, RecycledMemory

LARGE = (1, 2, HUGE // 64, 17)


def counting() -> tuple[RecycledMemory, list[int]]:
    sizes: list[int] = []

    def map(size: int) -> Mapped:
        sizes.append(size)
        return map_huge_pages(size)

    return RecycledMemory(map), sizes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("shape", [(0, 3), (3, 5), LARGE, (1300, 700, 2), (HUGE + 1,)])
def test_tensors_are_like_any_others(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    like, made = torch.empty(shape, dtype=dtype), RecycledMemory().empty(shape, dtype)
    assert (made.shape, made.stride(), made.dtype) == (like.shape, like.stride(), like.dtype)
    assert not made._is_view()
    made.copy_(like.fill_(3))
    assert torch.equal(made, like)


def test_small_ones_are_not_recycled() -> None:
    store, sizes = counting()
    assert store.empty((HUGE // 4 - 1,), torch.float32).fill_(2).sum() == HUGE // 2 - 2
    assert not sizes


def test_what_grows_takes_turns() -> None:
    """One more row at each step: two blocks, while the one before is still there."""
    store, sizes = counting()
    before = store.empty(LARGE, torch.float32)
    for more in range(1, 20):
        rows = LARGE[2] + more
        before, old = store.empty((1, 2, rows, 17), torch.float32), before
        del old
    assert len(sizes) == 2
    assert store.spare_bytes == store.lent_bytes == sizes[0]


def test_what_grows_far_leaves_what_is_too_small() -> None:
    store, sizes = counting()
    before = store.empty(LARGE, torch.int8)
    for more in range(1, 300):
        before, old = store.empty((1, 2, LARGE[2] + 64 * more, 17), torch.int8), before
        del old
    assert len(sizes) < 50
    assert store.spare_bytes <= store.lent_bytes < 1.3 * before.numel()


def test_no_memory_has_two_tensors() -> None:
    store, _ = counting()
    kept = [store.empty(LARGE, torch.float32).fill_(i) for i in range(5)]
    del kept[1], kept[2]
    kept += [store.empty(LARGE, torch.float32).fill_(9) for _ in range(3)]
    assert [float(tensor.max()) for tensor in kept] == [0, 2, 4, 9, 9, 9]
    assert [float(tensor.min()) for tensor in kept] == [0, 2, 4, 9, 9, 9]


VIEWS: list[Callable[[torch.Tensor], object]] = [
    lambda tensor: tensor[:, :1, 5:7],
    lambda tensor: tensor.detach(),
    lambda tensor: tensor.numpy(),
    lambda tensor: tensor.untyped_storage(),
    lambda tensor: from_dlpack(tensor),
    lambda tensor: tensor.numpy()[0].data,
]


@pytest.mark.parametrize("view", VIEWS)
def test_views_keep_it(view: Callable[[torch.Tensor], object]) -> None:
    store, sizes = counting()
    other = store.empty(LARGE, torch.float32)
    seen = view(store.empty(LARGE, torch.float32))
    gc.collect()
    assert store.spare_bytes == 0
    del seen
    gc.collect()
    assert store.spare_bytes == sizes[0]
    assert other.numel()


def test_copies_do_not_share_it() -> None:
    store, _ = counting()
    made = store.empty(LARGE, torch.float32).fill_(1)
    copied = copy.deepcopy(made)
    made.fill_(2)
    assert float(copied.max()) == 1


def test_no_more_is_kept_than_there_is() -> None:
    """It goes with the last tensor, the oldest first."""
    store, sizes = counting()
    tensors = [store.empty(LARGE, torch.float32) for _ in range(6)]
    while tensors:
        tensors.pop()
        assert store.spare_bytes <= store.lent_bytes == len(tensors) * sizes[0]
    assert store.spare_bytes == 0


def test_far_too_large_blocks_are_left() -> None:
    store, sizes = counting()
    large, kept = (store.empty((HUGE * 8,), torch.int8) for _ in range(2))
    del large
    small = store.empty((HUGE,), torch.int8)
    assert len(sizes) == 3
    assert kept.numel() > small.numel()


def test_threads() -> None:
    store, _ = counting()

    def grow(number: int) -> bool:
        before = store.empty(LARGE, torch.float32).fill_(number)
        for more in range(30):
            after = store.empty((1, 2, LARGE[2] + more, 17), torch.float32).fill_(number)
            if float(before.min()) != number or float(before.max()) != number:
                return False
            before = after
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(grow, range(8)))
    gc.collect()
    assert store.lent_bytes == store.spare_bytes == 0


def test_systems_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert RecycledMemory().empty((1 << 20,), torch.float32).fill_(2).sum() == 2 << 20
