"""Attention as models write it: the forms of the rows, and the further tensors they take.

A form takes q, k and v [B, H, S, D] and its own tensors, of any one float type: what a model makes
itself has the type of q. The names are those of ``meanings`` too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Form = Callable[..., Tensor]
Extras = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, ...]]
"""What a form takes besides q, k and v, made for a query and a key; floats have their type."""

SOFT_CAP, WINDOW = 50.0, 1024


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Two products around a softmax (ViT, Whisper, diffusers)."""
    scores = torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    return torch.matmul(torch.softmax(scores, dim=-1), v)


def padding(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """BERT: an additive mask [B, 1, 1, S] of zeros and lowest numbers."""
    scores = torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    return torch.matmul(torch.softmax(scores + mask, dim=-1), v)


def relative_bias(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """T5: a learned bias [1, H, S, S], and no scale."""
    scores = torch.matmul(q, k.transpose(3, 2)) + bias
    return torch.matmul(F.softmax(scores.float(), dim=-1).type_as(scores), v)


def windows(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """Swin: a bias [1, H, S, S], and a mask [windows, 1, S, S] that repeats along the batch."""
    count, length = mask.shape[0], q.shape[2]
    mask = mask.unsqueeze(0).expand(q.shape[0] // count, -1, -1, -1, -1)
    combined = bias + mask.reshape(-1, 1, length, length)
    scores = torch.matmul(q, k.transpose(2, 3)) * q.shape[-1] ** -0.5 + combined
    return torch.matmul(F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype), v)


def repeat_kv(x: Tensor, times: int) -> Tensor:
    """Every head ``times`` times, as transformers repeats keys and values for their group."""
    batch, heads, length, size = x.shape
    if times == 1:
        return x
    x = x[:, :, None, :, :].expand(batch, heads, times, length, size)
    return x.reshape(batch, heads * times, length, size)


def grouped(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, soft_cap: float | None = None
) -> Tensor:
    """``eager_attention_forward`` of transformers, with Gemma2's soft cap."""
    times = q.shape[1] // k.shape[1]
    k, v = repeat_kv(k, times), repeat_kv(v, times)
    scores = torch.matmul(q, k.transpose(2, 3)) * q.shape[-1] ** -0.5
    if soft_cap is not None:
        scores = torch.tanh(scores / soft_cap) * soft_cap
    if mask is not None:
        scores = scores + mask
    return torch.matmul(F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype), v)


def _positions(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers [1, 1, S, 1] and column numbers [1, 1, 1, S]."""
    rows, columns = torch.arange(q.shape[2]), torch.arange(k.shape[2])
    return rows[None, None, :, None], columns[None, None, None, :]


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where visible, else the lowest number."""
    return torch.where(visible, torch.zeros((), dtype=dtype), torch.finfo(dtype).min)


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Llama: grouped heads, and a causal mask made in the graph."""
    rows, columns = _positions(q, k)
    return grouped(q, k, v, _additive(columns <= rows, q.dtype))


def soft_cap(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Gemma2: capped scores, and a causal window made in the graph."""
    rows, columns = _positions(q, k)
    visible = (columns > rows - WINDOW) & (columns <= rows)
    return grouped(q, k, v, _additive(visible, q.dtype), SOFT_CAP)


def alibi(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
    """BLOOM: ``baddbmm`` adds [B*H, 1, S], a causal mask is made in the graph."""
    batch, heads, length, size = q.shape
    keys = k.reshape(batch * heads, -1, size).transpose(1, 2)
    queries = q.reshape(batch * heads, length, size)
    scores = slopes.baddbmm(queries, keys, beta=1.0, alpha=size**-0.5)
    rows, columns = _positions(q, k)
    scores = scores.view(batch, heads, length, -1) + _additive(columns <= rows, q.dtype)
    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
    weights = weights.view(batch * heads, length, -1)
    out = torch.bmm(weights, v.reshape(batch * heads, -1, size))
    return out.view(batch, heads, length, size)


def _builder(q: Tensor, k: Tensor, padding: Tensor) -> Tensor:
    """The mask builder of transformers: causal, and a vector [B, S] that tells real tokens."""
    rows, columns = _positions(q, k)
    batch = torch.arange(q.shape[0])[:, None, None, None]
    visible = rows.new_ones((), dtype=torch.bool) & (columns <= rows)
    visible = visible & padding.to(torch.bool)[batch, columns]
    return visible.expand(q.shape[0], -1, q.shape[2], k.shape[2])


def builder(q: Tensor, k: Tensor, v: Tensor, padding: Tensor) -> Tensor:
    """Any decoder of transformers with ``attn_implementation="eager"``."""
    return grouped(q, k, v, _additive(_builder(q, k, padding), q.dtype))


def builder_sdpa(q: Tensor, k: Tensor, v: Tensor, padding: Tensor) -> Tensor:
    """The same with ``attn_implementation="sdpa"``."""
    return F.scaled_dot_product_attention(q, k, v, _builder(q, k, padding))


def masked_fill(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """nanoGPT: minus infinity above the diagonal of a ``tril`` made in the graph."""
    scores = torch.matmul(q, k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    lower = torch.tril(torch.ones(q.shape[2], k.shape[2]))
    scores = scores.masked_fill(lower == 0, float("-inf"))
    return torch.matmul(F.softmax(scores, dim=-1), v)


def _no_extras(q: Tensor, k: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    return ()


def _tokens(q: Tensor, k: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Ones for real tokens [B, S]; the texts are up to an eighth shorter than the longest."""
    batch, length = q.shape[0], k.shape[2]
    short = torch.randint(length // 8 + 1, (batch, 1), generator=generator)
    return ((torch.arange(length) < length - short).long(),)


def _padding_mask(q: Tensor, k: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    (tokens,) = _tokens(q, k, generator)
    return ((1.0 - tokens[:, None, None, :].to(q.dtype)) * torch.finfo(q.dtype).min,)


def _bias(q: Tensor, k: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    bias = torch.randn((1, q.shape[1], q.shape[2], k.shape[2]), generator=generator)
    return (bias.to(q.dtype),)


def _window_tensors(q: Tensor, k: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """A bias, and for each window a mask that keeps its regions apart by -100, as Swin does."""
    region = torch.randint(2, (q.shape[0], 1, k.shape[2], 1), generator=generator)
    mask = (region != region.transpose(2, 3)) * -100.0
    return (*_bias(q, k, generator), mask.to(q.dtype))


def _slopes(q: Tensor, k: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """[B*H, 1, S]: the slope of each head times the position of the key."""
    heads = torch.arange(1, q.shape[1] + 1)
    slopes = torch.pow(2.0, -8.0 * heads / q.shape[1])
    distances = slopes[:, None, None] * torch.arange(k.shape[2])
    return (distances.repeat(q.shape[0], 1, 1).to(q.dtype),)


@dataclass(frozen=True)
class Source:
    """A form, and what makes the tensors it takes besides q, k and v."""

    form: Form
    extras: Extras = _no_extras


SOURCES = {
    "plain": Source(plain),
    "padding": Source(padding, _padding_mask),
    "relative_bias": Source(relative_bias, _bias),
    "windows": Source(windows, _window_tensors),
    "grouped": Source(grouped),
    "causal": Source(causal),
    "soft_cap": Source(soft_cap),
    "alibi": Source(alibi, _slopes),
    "builder": Source(builder, _tokens),
    "builder_sdpa": Source(builder_sdpa, _tokens),
    "masked_fill": Source(masked_fill),
}
