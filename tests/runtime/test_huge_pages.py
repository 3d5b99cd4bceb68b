"""Memory in huge pages: tensors like any others."""

from __future__ import annotations

import gc
import mmap
from typing import Any

import pytest
import torch

from snipjit.runtime.huge_pages import HUGE, empty_in_huge_pages
from snipjit.torch_private import StorageReference

SHAPES = [(0,), (3, 5), (HUGE // 64, 16), (700_001,), (1300, 700, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_all_of_it_can_be_written(shape: tuple[int, ...]) -> None:
    like = torch.empty(shape)
    made = empty_in_huge_pages(shape, like.stride(), torch.float32)
    assert (made.shape, made.stride(), made.dtype) == (like.shape, like.stride(), like.dtype)
    made.copy_(like.fill_(3).cumsum(0))
    assert torch.equal(made, like.cumsum(0))


def test_it_begins_a_huge_page_and_goes_when_no_one_has_it() -> None:
    made = empty_in_huge_pages((HUGE,), (1,), torch.float32)
    assert made.data_ptr() % HUGE == 0
    held = StorageReference(made)
    part = made[5:7].fill_(1)
    del made
    assert part.sum() == 2
    del part
    gc.collect()
    assert held.is_gone


def test_systems_without_them(monkeypatch: Any) -> None:
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE")
    assert empty_in_huge_pages((HUGE,), (1,), torch.float32).fill_(2).sum() == 2 * HUGE
