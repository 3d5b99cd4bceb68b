"""A batch of 1, and sequences packed into one, are no other case than a batch of 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import snipjit
from snipjit.compiler import lower, optimize
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.subgraph import print_subgraph
from snipjit.target.target_machine import PORTABLE
from tests.passes.fx.attention_forms import Model
from tests.passes.fx.support import exported, graph_of


def _compare(function: Callable[..., Tensor], args: Callable[[int], Any], how: str) -> None:
    """One kernel, for sizes new to it too, of a graph or of an exported program."""
    torch._dynamo.reset()
    snipjit.reset_stats()
    compiled: Callable[..., Any]
    if how == "exported":
        compiled = snipjit.compile(Model(function), args(17))
    else:
        compiled = torch.compile(function, backend="snipjit", dynamic=how == "dynamic")
    with torch.inference_mode():
        for length in (17, 13, 31):
            inputs = args(length)
            result = compiled(*inputs)
            torch.testing.assert_close(result, function(*inputs), atol=2e-5, rtol=2e-5)
    stats = snipjit.stats()
    assert not stats.refusals
    assert stats.subgraphs == (3 if how == "static" else 1)


LONG = pytest.mark.long
HOW = pytest.mark.parametrize(
    "how", ["dynamic", *(pytest.param(how, marks=LONG) for how in ("static", "exported"))]
)


def images(q: Tensor, k: Tensor, v: Tensor, image: Tensor) -> Tensor:
    """Gemma 3: rows see what came before, and all of their own image."""
    index = torch.arange(q.shape[2])
    same = (image[:, :, None] == image[:, None, :]) & (image[:, :, None] > 0)
    mask = (index[None, :] <= index[:, None])[None] | same
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])


def _images(batch: int, length: int) -> tuple[Tensor, ...]:
    q, k, v = torch.randn(3, batch, 2, length, 16)
    return q, k, v, (torch.arange(length) // 4 % 3).repeat(batch, 1)


@HOW
def test_images_in_a_batch_of_1(how: str) -> None:
    _compare(images, lambda length: _images(1, length), how)


def test_images_in_a_batch_of_1_have_the_kernel_of_any_batch() -> None:
    one, two = (graph_of(images, *_images(batch, 21)).candidate.subgraph for batch in (1, 2))
    assert print_subgraph(optimize(one)) == print_subgraph(optimize(two))


PACK: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x.transpose(0, 1)[None],
    "unsqueeze": lambda x: x.transpose(0, 1).unsqueeze(0),
    "first": lambda x: x.unsqueeze(0).transpose(1, 2),
}
MASKS = ((1, 1, -1, -1), (1, -1, -1), (1, 4, -1, -1), (1, 1, 1, -1), (1, -1))
"""Shapes of masks; -1: rows, then keys."""


@HOW
@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("floats", [False, True])
def test_packed_sequences_with_a_mask(how: str, pack: str, floats: bool) -> None:
    def function(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        q, k, v = map(PACK[pack], (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=gqa)

    def args(length: int) -> tuple[Tensor, ...]:
        keys, few = length + 5, 2 if gqa else 4
        last = (length, keys)[-sum(size < 0 for size in shape) :]
        mask = torch.randn(*shape[: len(shape) - len(last)], *last)
        hidden = mask > -1
        hidden[..., 0] = True
        q, (k, v) = torch.randn(length, 4, 16), torch.randn(2, keys, few, 16)
        return q, k, v, mask if floats else hidden

    for shape, gqa in zip(MASKS, (True, False, True, False, False), strict=True):
        _compare(function, args, how)


class _Layer(torch.nn.Module):
    """``nn.MultiheadAttention`` where each row sees itself and nine before it."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = torch.nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        full = torch.full((x.shape[1], x.shape[1]), float("-inf"))
        mask = full.triu(1) + full.tril(-10)
        result: Tensor = self.attend(x, x, x, attn_mask=mask, need_weights=False)[0]
        return result


@pytest.mark.parametrize("batch", [1, 2])
def test_multihead_attention_exported(batch: int) -> None:
    layer = _Layer().eval()
    _compare(layer, lambda length: (torch.randn(batch, length, 32),), "exported")
    subgraph = exported(Model(layer), (torch.randn(batch, 21, 32),)).candidate.subgraph
    text = print_linear(lower(optimize(subgraph), PORTABLE))
    assert "n from m - 9 and n upto m + 0" in " ".join(text.split())
