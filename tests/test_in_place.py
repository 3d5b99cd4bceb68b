"""Operands that a model writes to in place: attention sees what eager sees, and is fused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import snipjit

Function = Callable[[Tensor, Tensor, Tensor], Tensor]


pytestmark = pytest.mark.usefixtures("fresh")


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) * 0.25, -1) @ v


def copy_then_item(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    cache = k.clone()
    cache[:, :, 2:4] = q[:, :, :2]
    return F.scaled_dot_product_attention(q, cache, v)


def copy_then_slice(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q = q.clone()
    q[..., :8].mul_(3)
    return attend(q, k, v)


def contiguous_then_fill(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k = k.transpose(1, 2).contiguous()
    k.select(1, 0).fill_(0.5)
    return attend(q, k.transpose(1, 2), v)


def scaled_then_item(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q = q * 0.25
    q[:, 0] = 0
    return attend(q, k, v)


def view_before_its_base(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q = q.clone()
    moved = q.transpose(1, 2)
    q.mul_(3)
    return attend(moved.transpose(1, 2), k, v)


def heads_repeated_then_item(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = (x[:, :2].repeat_interleave(2, 1) for x in (k, v))
    k[:, 1] = 0
    return attend(q, k, v)


def values_between_the_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    v = v.clone()
    weights = torch.softmax(q @ k.transpose(-1, -2), -1)
    v[:, :, 0] = 0
    return weights @ v


def static_cache(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k.index_copy_(2, torch.tensor([1]), q[:, :, :1])
    v[:, :, 1:2] = q[:, :, 1:2]
    return attend(q, k, v)


def after_the_products(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q = q.clone()
    result = attend(q, k, v)
    q.zero_()
    return result + q


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize(
    "function",
    [
        copy_then_item,
        copy_then_slice,
        contiguous_then_fill,
        scaled_then_item,
        view_before_its_base,
        heads_repeated_then_item,
        values_between_the_products,
        static_cache,
        after_the_products,
    ],
    ids=lambda function: function.__name__,
)
def test_writes_are_seen(function: Function, dynamic: bool) -> None:
    compiled = torch.compile(function, backend="snipjit", dynamic=dynamic)
    with torch.inference_mode():
        for length in (7, 13):
            tensors = torch.randn(3, 2, 4, length, 16)
            ours, theirs = tensors.clone(), tensors.clone()
            result, expected = compiled(*ours), function(*theirs)
            torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
            assert torch.equal(ours, theirs)
    assert snipjit.stats().subgraphs >= 1
    assert not snipjit.stats().refusals
