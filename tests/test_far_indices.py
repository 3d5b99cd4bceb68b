"""Indices that float32 does not hold: they cancel, are left to PyTorch, or are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import snipjit
from snipjit.errors import InputError

FAR = (0, 7, 2**23, 2**24, 1_700_000_000)


pytestmark = pytest.mark.usefixtures("fresh")


def causal(q: Tensor, k: Tensor, v: Tensor, start: Any) -> Tensor:
    places = torch.arange(q.shape[-2]) + start
    scores = (q @ k.mT).masked_fill(places[:, None] < places[None], -float("inf"))
    return scores.softmax(-1) @ v


def window(q: Tensor, k: Tensor, v: Tensor, start: Any) -> Tensor:
    rows, columns = (torch.arange(x.shape[-2]) + start for x in (q, k))
    seen = (rows[:, None] >= columns[None] - 3) & (rows[:, None] - columns[None] < 9)
    return F.scaled_dot_product_attention(q, k, v, seen)


def constant(q: Tensor, k: Tensor, v: Tensor, start: Any) -> Tensor:
    places = torch.arange(2**24, 2**24 + 13)
    scores = (q @ k.mT).masked_fill(places[:, None] < places[None], -float("inf"))
    return scores.softmax(-1) @ v


def after_cached(q: Tensor, k: Tensor, v: Tensor, start: Any) -> Tensor:
    rows = torch.arange(q.shape[-2]) + start
    return F.scaled_dot_product_attention(q, k, v, rows[:, None] >= torch.arange(k.shape[-2]))


@pytest.mark.parametrize("kind", [int, torch.tensor], ids=["int", "tensor"])
@pytest.mark.parametrize(
    "function", [causal, window, constant], ids=lambda function: function.__name__
)
def test_they_are_right(function: Callable[..., Tensor], kind: Callable[[int], Any]) -> None:
    q, k, v = torch.randn(3, 2, 4, 13, 16)
    compiled = torch.compile(function, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        for start in map(kind, FAR):
            result, expected = compiled(q, k, v, start), function(q, k, v, start)
            torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    assert snipjit.stats().subgraphs >= 1


def test_they_are_refused() -> None:
    q, k, v = torch.randn(3, 2, 4, 13, 16)
    compiled = torch.compile(after_cached, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        for start in map(torch.tensor, (0, 5, 2**22)):
            result, expected = compiled(q, k, v, start), after_cached(q, k, v, start)
            torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
        for start in map(torch.tensor, (2**22 + 1, 2**24, -(2**30))):
            with pytest.raises(InputError, match="a mask counts indices from"):
                compiled(q, k, v, start)


def test_other_whole_numbers_are_refused() -> None:
    def distant(q: Tensor, k: Tensor, v: Tensor, start: Tensor) -> Tensor:
        rows, columns = torch.arange(q.shape[-2])[:, None], torch.arange(k.shape[-2])
        return F.scaled_dot_product_attention(q, k, v, (columns - rows).abs() + start <= 9)

    q, k, v = torch.randn(3, 2, 4, 13, 16)
    compiled = torch.compile(distant, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        result, expected = compiled(q, k, v, torch.tensor(3)), distant(q, k, v, torch.tensor(3))
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
        with pytest.raises(InputError, match="a mask counts indices from"):
            compiled(q, k, v, torch.tensor(2**25 + 1))


def test_long_masks_are_refused() -> None:
    def prefix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, (torch.arange(k.shape[-2]) >= 3)[None])

    compiled = torch.compile(prefix, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        q, k, v = torch.randn(3, 1, 1, 13, 1)
        torch.testing.assert_close(compiled(q, k, v), prefix(q, k, v))
        many = torch.zeros(1, 1, 1, 1).expand(1, 1, 2**23 + 1, 1)
        with pytest.raises(InputError, match="a mask of indices is 8388609 long"):
            compiled(q, many, many)
