"""Rotary embeddings as models write them, for the tests that compile them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

FEATURES = 16


def rotate_half(x: Tensor) -> Tensor:
    """As Llama of transformers writes it."""
    x1 = x[..., : x.shape[-1] // 2]
    x2 = x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)


def rotate_chunks(x: Tensor) -> Tensor:
    """As ESM writes it."""
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


def rotate_every_two(x: Tensor) -> Tensor:
    """As GPT-J writes it."""
    x1 = x[..., ::2]
    x2 = x[..., 1::2]
    return torch.stack((-x2, x1), dim=-1).flatten(-2)


def _llama(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    q, k = q.transpose(1, 2), k.transpose(1, 2)
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


def _scaled(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """The angles' tables are made before, for all layers, and no head is merged."""
    q = q * 0.25
    cos, sin = cos[:, :, None], sin[:, :, None]
    return (q * cos) + (rotate_chunks(q) * sin), (k * cos) + (rotate_chunks(k) * sin)


def _in_f32(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """As models of vision write it: in float32, whatever the type."""
    dtype = q.dtype
    q, k = q.float(), k.float()
    cos, sin = cos.unsqueeze(-2).float(), sin.unsqueeze(-2).float()
    q_embed = (q * cos) + (rotate_half(q) * sin)
    k_embed = (k * cos) + (rotate_half(k) * sin)
    return q_embed.to(dtype), k_embed.to(dtype)


def _partial(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the features are rotated, as in GPT-NeoX."""
    n = FEATURES // 2
    cos, sin = cos[:, :, None, :n], sin[:, :, None, :n]
    found = []
    for x in (q, k):
        turned, kept = x[..., :n], x[..., n:]
        embed = turned * cos + rotate_half(turned) * sin
        found.append(torch.cat((embed, kept), dim=-1))
    return found[0], found[1]


def _one(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    return q * cos + rotate_half(q) * sin, k


def _by_pairs(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    return q * cos + rotate_every_two(q) * sin, k * cos + rotate_every_two(k) * sin


def _read_again(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """What is rotated is a result too."""
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    turned = rotate_half(q)
    return q * cos + turned * sin, turned


@dataclass(frozen=True)
class Rotary:
    """A function of queries and keys [b, s, heads, d] and angles [b, s, d], and its kernels."""

    function: Callable[..., Any]
    kernels: int = 1

    def model(self) -> nn.Module:
        """The function as a module."""
        return _Model(self.function)

    def given(
        self, batch: int, length: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, ...]:
        """Six heads of queries, two of keys."""
        torch.manual_seed(length)
        heads = [torch.randn(batch, length, n, FEATURES) for n in (6, 2)]
        angle = torch.randn(batch, length, FEATURES // 2).repeat(1, 1, 2)
        found = tuple(x.to(dtype) for x in (*heads, angle.cos(), angle.sin()))
        for x in found:
            torch._dynamo.mark_static(x, x.dim() - 1)
        return found


class _Model(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


ROTARIES: dict[str, Rotary] = {
    "Llama": Rotary(_llama),
    "scaled": Rotary(_scaled, 2),
    "in float32": Rotary(_in_f32),
    "partial": Rotary(_partial, 2),
    "queries alone": Rotary(_one),
    "by pairs": Rotary(_by_pairs, 2),
    "read again": Rotary(_read_again),
}
"""Where angles outside have a dim of size 1 for the heads, each tensor has a kernel of its own."""
