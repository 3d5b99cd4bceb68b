"""Joining tensors into recycled memory: the values, types, strides and errors of ``torch.cat``."""

from __future__ import annotations

import pytest
import torch

from snipjit.runtime.huge_pages import HUGE
from snipjit.runtime.join_tensors import join_tensors
from snipjit.runtime.recycled_memory import RecycledMemory

ROWS = HUGE // 64
CACHE = torch.arange(2 * ROWS * 17, dtype=torch.float32).view(1, 2, ROWS, 17)


def other(rows: int, heads: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.full((1, heads, rows, 17), -1.0).to(dtype)


TAKEN = {
    "one": ([CACHE, other(1)], -2),
    "five": ([CACHE, other(5)], 2),
    "none": ([CACHE, other(0)], 2),
    "three": ([CACHE, other(2), CACHE], -2),
    "heads": ([CACHE, CACHE], 1),
    "features": ([CACHE, CACHE[..., :3]], -1),
    "batch": ([CACHE, CACHE], 0),
    "strided": ([CACHE, torch.ones(1, 3, 2, 17).transpose(1, 2)], 2),
    "bf16": ([CACHE.bfloat16(), other(1, dtype=torch.bfloat16)], 2),
}
LEFT = {
    "small": ([CACHE[:, :, :9].contiguous(), other(1)], 2),
    "first strided": ([CACHE.transpose(1, 2), other(1).transpose(1, 2)], 1),
    "channels last": ([CACHE.to(memory_format=torch.channels_last)] * 2, 1),
    "types": ([CACHE, other(1, dtype=torch.bfloat16)], 2),
    "empty": ([CACHE, torch.tensor([])], 2),
    "grad": ([CACHE.clone().requires_grad_(), other(1)], 2),
    "parameter": ([torch.nn.Parameter(CACHE, requires_grad=False), other(1)], 2),
}


@pytest.mark.parametrize("name", [*TAKEN, *LEFT])
def test_joined(name: str) -> None:
    (tensors, dim), memory = {**TAKEN, **LEFT}[name], RecycledMemory()
    expected, made = torch.cat(tensors, dim), join_tensors(tensors, dim, memory)
    assert torch.equal(made, expected)
    assert (made.dtype, made.stride()) == (expected.dtype, expected.stride())
    assert made.requires_grad == expected.requires_grad
    assert bool(memory.lent_bytes) == (name in TAKEN)


@pytest.mark.parametrize("inference", [False, True])
def test_modes(inference: bool) -> None:
    with torch.inference_mode(inference):
        tensors = [CACHE.clone(), other(1)]
        assert join_tensors(tensors, 2).is_inference() == torch.cat(tensors, 2).is_inference()


@pytest.mark.parametrize(
    ("tensors", "dim"),
    [
        ([CACHE, other(1, heads=3)], 2),
        ([CACHE, other(1)], 4),
        ([CACHE, other(1)], -5),
        ([CACHE, other(1)[0]], 2),
        ([CACHE, other(1).to("meta")], 2),
    ],
)
def test_errors_are_those_of_torch(tensors: list[torch.Tensor], dim: int) -> None:
    with pytest.raises((RuntimeError, IndexError)) as expected:
        torch.cat(tensors, dim)
    with pytest.raises(type(expected.value)) as found:
        join_tensors(tensors, dim)
    assert str(found.value) == str(expected.value)
