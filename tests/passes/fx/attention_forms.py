"""Hand-written attention in the spellings of real models, by variant of the checklist."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# A Parameter, so that the hidden size is static in every trace, as in models.
WEIGHT = torch.nn.Parameter(torch.eye(32), requires_grad=False)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def qkv(heads: int = 4, keys: int = 9, kv_heads: int | None = None) -> tuple[Tensor, ...]:
    """Query [2, heads, 7, 8], key and value [2, kv_heads, keys, 8]."""
    kv = kv_heads or heads
    return _random(2, heads, 7, 8), _random(2, kv, keys, 8), _random(2, kv, keys, 8) + 0.1


def padding(keys: int = 9) -> Tensor:
    """A boolean mask [2, 1, 1, keys] that hides the tail of the second sequence."""
    mask = torch.ones(2, 1, 1, keys, dtype=torch.bool)
    mask[1, ..., keys - 3 :] = False
    return mask


def repeat_kv(x: Tensor, n: int) -> Tensor:
    """As transformers writes it."""
    batch, heads, length, dim = x.shape
    x = x[:, :, None, :, :].expand(batch, heads, n, length, dim)
    return x.reshape(batch, heads * n, length, dim)


def merge(x: Tensor) -> Tensor:
    """Heads back into the last dim."""
    return x.transpose(1, 2).contiguous().reshape(x.shape[0], x.shape[2], -1)


def bert(x: Tensor, y: Tensor, z: Tensor, mask: Tensor) -> Tensor:
    """Head splits, scale, additive mask, dropout that is off, head merge; x is [B, S, H·D]."""
    projected = (F.linear(t, WEIGHT) for t in (x, y, z))
    q, k, v = (t.view(t.shape[0], t.shape[1], -1, 8).transpose(1, 2) for t in projected)
    scores = torch.matmul(q, k.transpose(-1, -2)) * 8**-0.5
    scores = scores + torch.where(mask, 0.0, torch.finfo(torch.float32).min)
    weights = F.dropout(F.softmax(scores, dim=-1), p=0.1, training=False)
    return merge(torch.matmul(weights, v))


def llama(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """repeat_kv, then a softmax with casts that change nothing."""
    k, v = repeat_kv(k, 2), repeat_kv(v, 2)
    scores = torch.matmul(q, k.transpose(2, 3)) * 0.3 + torch.where(mask, 0.0, -1e9)
    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
    return merge(torch.matmul(weights, v))


def interleaved(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Repeated key heads by repeat_interleave."""
    k, v = k.repeat_interleave(2, dim=1), torch.repeat_interleave(v, 2, 1)
    return torch.softmax(q @ k.mT / math.sqrt(8), -1) @ v


def t5(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """Position bias, then mask."""
    return ((q @ k.transpose(3, 2)) * 1.0 + bias + torch.where(mask, 0.0, -1e9)).softmax(-1) @ v


def gemma(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Soft cap before the mask."""
    scores = torch.matmul(q, k.transpose(2, 3)) * 0.2
    scores = torch.tanh(scores / 50.0) * 50.0
    return torch.matmul(F.softmax(scores.masked_fill(~mask, -1e9), dim=-1), v)


def timm(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Query scaled first."""
    q = q * 8**-0.5
    return ((q @ k.transpose(-2, -1)).softmax(dim=-1) @ v).transpose(1, 2).flatten(2)


def both_scaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Query and key scaled by the square root, each."""
    return F.softmax((q * 0.5) @ (k * 0.5).transpose(-2, -1), -1) @ v


def in_place(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """In-place ops, as operators and as statements whose value is dropped."""
    scores = torch.matmul(q, k.transpose(-1, -2))
    scores /= 8**0.5
    scores.masked_fill_(~mask, -1e9)
    scores += 0.5
    return F.softmax(scores, dim=-1) @ v


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax as max, sub, exp, sum, div."""
    scores = (q @ k.mT).mul(0.3)
    scores = scores - scores.amax(dim=-1, keepdim=True)
    weights = scores.exp()
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return weights @ v


def written_out_max(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same with Tensor.max, which also gives indices."""
    scores = q @ k.mT
    weights = torch.exp(scores - torch.max(scores, dim=-1, keepdim=True)[0])
    return torch.div(weights, torch.sum(weights, -1, True)).matmul(v)


def folded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Heads folded into the batch, baddbmm with a bias, views around softmax."""
    batch, heads, rows, dim = q.shape
    a, b, c = (t.reshape(batch * heads, -1, dim) for t in (q, k, v))
    bias = torch.ones(1, 1, k.shape[2])
    scores = torch.baddbmm(bias, a, b.transpose(1, 2), beta=0.5, alpha=0.25)
    scores = scores.view(batch, heads, rows, -1) + torch.where(mask, 0.0, -1e9)
    weights = torch.softmax(scores, -1).view(batch * heads, rows, -1)
    return merge(torch.bmm(weights, c).view(batch, heads, rows, dim))


def sd_beta_zero(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """3-D baddbmm that does not read its added input, as diffusers writes it."""
    empty = torch.empty(q.shape[0], q.shape[1], k.shape[1])
    scores = torch.baddbmm(empty, q, k.transpose(-1, -2), beta=0, alpha=0.25)
    return torch.bmm(scores.softmax(dim=-1), v)


def activations(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Composed functions before and after softmax."""
    scores = F.gelu(F.silu(q @ k.mT).clamp(-3.0, max=2.0), approximate="tanh")
    scores = torch.where(scores > 0.1, scores.square(), F.leaky_relu(scores))
    weights = F.gelu(F.relu(scores).softmax(-1)).rsqrt().reciprocal()
    return torch.addcmul(weights, weights, weights, value=0.5) @ v


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """A boolean mask, all by keyword."""
    return F.scaled_dot_product_attention(
        query=q, key=k, value=v, attn_mask=mask, dropout_p=0, is_causal=False, scale=None
    )


def sdpa_float(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """A float mask and a scale of the model."""
    return merge(F.scaled_dot_product_attention(q, k, v, bias, 0.0, scale=0.7))


def sdpa_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal, no mask."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def sdpa_gqa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Fewer key heads, by the flag."""
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


@dataclass(frozen=True)
class Form:
    """One form: its variant numbers, the function, inputs, and the Subgraph's op that marks it."""

    name: str
    function: Callable[..., Tensor]
    inputs: Callable[[], tuple[Any, ...]]
    expected: tuple[str, ...]


def _tokens() -> tuple[Tensor, ...]:
    return _random(2, 7, 32), _random(2, 9, 32), _random(2, 9, 32) + 0.1


_CORE = ("matmul", "softmax", "matmul")

FORMS = (
    Form("bert", bert, lambda: (*_tokens(), padding()), ("mul", "add", "softmax")),
    Form("llama", llama, lambda: (*qkv(4, 9, 2), padding()), ("expand", "softmax", "expand")),
    Form("interleaved", interleaved, lambda: qkv(4, 9, 2), ("expand", "div", "expand")),
    Form("t5", t5, lambda: (*qkv(), _random(1, 4, 7, 9), padding()), ("mul", "add", "add")),
    Form("gemma", gemma, lambda: (*qkv(), padding()), ("div", "tanh", "mul", "where")),
    Form("timm", timm, qkv, ("mul", *_CORE)),
    Form("both_scaled", both_scaled, qkv, ("mul", "mul", *_CORE)),
    Form("in_place", in_place, lambda: (*qkv(), padding()), ("div", "where", "add", "softmax")),
    Form("written_out", written_out, qkv, ("reduce_dims", "sub", "exp", "reduce_dims", "div")),
    Form("written_out_max", written_out_max, qkv, ("reduce_dims", "sub", "exp", "div")),
    Form("folded", folded, lambda: (*qkv(), padding()), ("view", "view", "matmul", "add", "view")),
    Form("sd_beta_zero", sd_beta_zero, lambda: tuple(t[0] for t in qkv()), ("matmul", "mul")),
    Form("activations", activations, qkv, ("sigmoid", "tanh", "where", "softmax", "erf", "sqrt")),
    Form("sdpa", sdpa, lambda: (*qkv(), padding()), ("sdpa",)),
    Form("sdpa_float", sdpa_float, lambda: (*qkv(), _random(1, 4, 7, 9)), ("sdpa",)),
    Form("sdpa_causal", sdpa_causal, lambda: qkv(4, 7), ("sdpa",)),
    Form("sdpa_gqa", sdpa_gqa, lambda: qkv(4, 9, 2), ("sdpa",)),
    Form("sdpa_one_head", sdpa, lambda: (*qkv(4, 9, 1), padding()), ("sdpa",)),
)


class Model(torch.nn.Module):
    """A form as a module, for torch.export."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Tensor) -> Any:
        """The form."""
        return self.function(*args)
