"""Joining tensors, as ``torch.cat`` does, into memory that an earlier one has left."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from snipjit.runtime.huge_pages import fills_huge_pages
from snipjit.runtime.recycled_memory import RECYCLED, RecycledMemory
from snipjit.torch_private import in_forward_ad


def join_tensors(
    tensors: list[torch.Tensor], dim: int = 0, memory: RecycledMemory = RECYCLED
) -> torch.Tensor:
    """``torch.cat(tensors, dim)``; what is large and out of the ordinary in nothing is recycled.

    Ordinary are plain tensors of one type and rank that need no gradient, the first of which is
    contiguous, and with it the result. The storage of what is recycled cannot be resized: who would
    have it larger clones it.
    """
    first = tensors[0]
    if not fills_huge_pages(first.numel() * first.itemsize) or not _are_plain(tensors):
        return torch.cat(tensors, dim)
    shape = list(first.shape)
    if not -len(shape) <= dim < len(shape):
        return torch.cat(tensors, dim)
    for other in tensors[1:]:
        if _without(other.shape, dim) != _without(first.shape, dim):
            return torch.cat(tensors, dim)
        shape[dim] += other.shape[dim]
    result = memory.empty(shape, first.dtype)
    return torch.cat(tensors, dim, out=result)


def _are_plain(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether all are ordinary but for their sizes."""
    first = tensors[0]
    if in_forward_ad() or not first.is_contiguous():
        return False
    return all(
        type(tensor) is torch.Tensor
        and tensor.dtype is first.dtype
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not tensor.requires_grad
        and not tensor.is_neg()
        and not tensor.is_conj()
        and tensor.dim() == first.dim()
        for tensor in tensors
    )


def _without(shape: Sequence[int], dim: int) -> tuple[int, ...]:
    dim %= len(shape)
    return (*shape[:dim], *shape[dim + 1 :])
