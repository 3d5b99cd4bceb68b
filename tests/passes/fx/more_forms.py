"""More hand-written attention: einsum, sinks, softmax in other words, masks, quantization."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.passes.fx.attention_forms import Form, _random, padding, qkv, repeat_kv

# Einsum, in several orders of letters.


def einsum_sequence_major(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * 0.3
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).flatten(2)


def einsum_three_dims(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("b i d, b j d -> b i j", [q, k])
    return torch.einsum("b i j, b j d -> b i d", scores.softmax(dim=-1), v)


def einsum_ellipsis(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum("...kd,...qd->...qk", k, q).softmax(-1)
    return torch.einsum("...kd,...qk->...qd", v, weights)


def einsum_groups(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum("bqhgd,bkhd->bhgqk", q, k).softmax(-1)
    return torch.einsum("bhgqk,bkhd->bqhgd", weights, v)


def einsum_keys_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum("ibnd,jbnd->ijbn", q, k).softmax(1)
    return torch.einsum("ijbn,jbnd->ibnd", weights, v)


def einsum_channels(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.einsum("bct,bcs->bts", q * 0.5, k * 0.5).softmax(-1)
    return torch.einsum("bts,bcs->bct", weights, v)


# A column that softmax takes in and the product does not see.


def sink_last(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, mask: Tensor) -> Tensor:
    k, v = repeat_kv(k, 2), repeat_kv(v, 2)
    scores = torch.matmul(q, k.transpose(2, 3)) * 0.3
    scores = scores + torch.where(mask, 0.0, torch.finfo(torch.float32).min)
    column = sinks.reshape(1, -1, 1, 1).expand(q.shape[0], -1, q.shape[-2], -1)
    joined = torch.cat([scores, column], dim=-1)
    joined = joined - joined.max(dim=-1, keepdim=True).values
    weights = F.softmax(joined, dim=-1, dtype=joined.dtype)
    return torch.matmul(weights[..., :-1], v).transpose(1, 2).contiguous()


def sink_first(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor) -> Tensor:
    column = sinks.view(1, -1, 1, 1).expand(q.shape[0], -1, q.shape[2], 1)
    return torch.cat((column, q @ k.mT), -1).softmax(-1)[:, :, :, 1:] @ v


def sink_zero(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.pad((q @ k.mT) * 0.3, (0, 1)).softmax(-1)[..., :-1] @ v


def sink_written_out(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor) -> Tensor:
    scores = q @ k.mT
    column = sinks.view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
    weights = torch.cat((scores, column), -1).exp()
    return (weights / weights.sum(-1, keepdim=True))[..., :-1] @ v


# Softmax in other words.


def log_softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.log_softmax(q @ k.mT, dim=-1).exp() @ v


def log_sum_exp(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT
    return torch.exp(scores - torch.logsumexp(scores, -1, keepdim=True)) @ v


def gated_by_log_sum_exp(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT
    gate = torch.sigmoid(scores.logsumexp(-1) - 0.5)
    return (scores.softmax(-1) * gate[..., None]) @ v


def softmin(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmin(q @ k.mT, dim=-1) @ v


def columns_of_the_transpose(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (k @ q.mT).softmax(-2).mT @ v


def powers_of_two(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = (q @ k.mT) * math.log2(math.e)
    weights = torch.exp2(scores - scores.amax(-1, keepdim=True))
    return (weights / weights.sum(-1, keepdim=True)) @ v


def off_by_one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.mT
    top = scores.amax(-1, keepdim=True).clamp(min=0)
    weights = (scores - top).exp()
    return (weights / (weights.sum(-1, keepdim=True) + torch.exp(-top))) @ v


# Scales and masks.


def temperatures(q: Tensor, k: Tensor, v: Tensor, scale: Tensor) -> Tensor:
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
    return (scores * torch.clamp(scale, max=math.log(100.0)).exp()).softmax(-1) @ v


def scaled_keys(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ (k / math.sqrt(k.shape[-1])).mT / torch.tensor([1.5])).softmax(-1) @ v


def chained_masks(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = (q @ k.mT).masked_fill(mask.logical_not(), torch.tensor(-1e4))
    scores = scores + (1.0 - mask.float()) * -1e4
    scores = torch.max(scores, torch.tensor(torch.finfo(torch.float32).min))
    scores = torch.where(~mask, torch.full_like(scores, -1e9), scores)
    weights = scores.softmax(-1)
    return torch.where(torch.isnan(weights), torch.zeros_like(weights), weights) @ v


def shifted_positions(q: Tensor, k: Tensor, v: Tensor, r: Tensor) -> Tensor:
    """Transformer-XL: the bias is a product that pads and slices bring to its shape."""
    shape = (2, 4, 7, 9)
    bias = F.pad(q @ r.mT, (1, 0)).view(2, 4, 10, 7)[:, :, 1:].reshape(shape)
    return ((bias + q @ k.mT) * 0.3).softmax(-1) @ v


def triangles(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT).triu(-3).softmax(-1).tril(1)
    return (weights / weights.sum(-1, keepdim=True)) @ v


def times_integers(q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
    """GPT-2's buffer of uint8, in the form that came before where."""
    rows, columns = q.shape[-2], k.shape[-2]
    visible = visible[:, :, columns - rows : columns, :columns]
    scores = q @ k.mT
    return (scores * visible - (1 - visible) * 1e4).softmax(-1) @ v


def times_made_integers(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    visible = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.int64).tril(2)
    return ((q @ k.mT) * visible - (1 - visible) * 1e4).softmax(-1) @ v


def raised(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """A bias with a batch dim over scores without one."""
    return ((q @ k.mT).unsqueeze(0) + bias).squeeze(0).softmax(-1) @ v


def raised_weights(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    weights = ((q @ k.mT)[None] * 0.3 + bias).softmax(-1)
    return weights.view(q.shape[0], q.shape[1], k.shape[1]) @ v


def selected(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    return ((q @ k.mT)[:, None] + bias.transpose(0, 1))[:, 0].softmax(-1) @ v


def all_hidden(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = (q @ k.mT).masked_fill(~mask, -math.inf)
    hidden = (scores == -math.inf).all(-1, keepdim=True)
    return scores.softmax(-1).masked_fill(hidden, 0.0) @ v


def any_visible(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = (q @ k.mT).masked_fill(~mask, -math.inf)
    weights = scores.softmax(-1)
    visible = torch.any(scores != -math.inf, dim=-1, keepdim=True)
    return torch.where(visible, weights, torch.zeros_like(weights)) @ v


def safe_softmax(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    scores = (q @ k.mT).masked_fill(~mask, -math.inf)
    weights: Tensor = torch.ops.aten._safe_softmax(scores, -1)
    return weights @ v


def quantized(q: Tensor, k: Tensor, v: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    q, k, v = (torch.fake_quantize_per_tensor_affine(t, 0.02, 3, -128, 127) for t in (q, k, v))
    scores = torch.fake_quantize_per_tensor_affine(q @ k.mT, scale, zero, -128, 127)
    weights = torch.fake_quantize_per_tensor_affine(scores.softmax(-1), 1 / 255, 0, 0, 255)
    return weights @ v


def _sequence_major() -> tuple[Tensor, ...]:
    return _random(2, 7, 3, 8), _random(2, 9, 3, 8), _random(2, 9, 3, 8)


def _groups() -> tuple[Tensor, ...]:
    return _random(2, 7, 3, 2, 8), _random(2, 9, 3, 8), _random(2, 9, 3, 8)


def _keys_first() -> tuple[Tensor, ...]:
    return _random(7, 2, 3, 8), _random(9, 2, 3, 8), _random(9, 2, 3, 8)


def _channels() -> tuple[Tensor, ...]:
    return _random(2, 8, 7), _random(2, 8, 9), _random(2, 8, 9)


def _quantized() -> tuple[Tensor, ...]:
    return *qkv(), torch.tensor([0.05]), torch.tensor([2], dtype=torch.int32)


def _raised() -> tuple[Tensor, ...]:
    return *(t[0] for t in qkv()), _random(1, 4, 7, 9)


def _integers(dtype: torch.dtype) -> tuple[Tensor, ...]:
    return *qkv(), torch.ones(1, 1, 16, 16, dtype=dtype).tril()


def _hidden_rows() -> tuple[Tensor, ...]:
    mask = _random(2, 1, 7, 9) > 0
    mask[0, :, 3] = False
    return *qkv(), mask


MORE = (
    Form("einsum_sequence_major", einsum_sequence_major, _sequence_major, ("matmul", "matmul")),
    Form("einsum_three_dims", einsum_three_dims, lambda: tuple(t[0] for t in qkv()), ("matmul",)),
    Form("einsum_ellipsis", einsum_ellipsis, qkv, ("matmul", "softmax", "matmul")),
    Form("einsum_groups", einsum_groups, _groups, ("matmul", "softmax", "matmul")),
    Form("einsum_keys_first", einsum_keys_first, _keys_first, ("matmul", "softmax")),
    Form("einsum_channels", einsum_channels, _channels, ("mul", "matmul", "matmul")),
    Form("sink_last", sink_last, lambda: (*qkv(4, 9, 2), _random(4), padding()), ("softmax",)),
    Form("sink_first", sink_first, lambda: (*qkv(), _random(4)), ("matmul", "softmax", "matmul")),
    Form("sink_zero", sink_zero, qkv, ("mul", "softmax", "matmul")),
    Form("sink_written_out", sink_written_out, lambda: (*qkv(), _random(4)), ("exp", "div")),
    Form("log_softmax", log_softmax, qkv, ("matmul", "softmax", "matmul")),
    Form("log_sum_exp", log_sum_exp, qkv, ("matmul", "softmax", "matmul")),
    Form("gated_by_log_sum_exp", gated_by_log_sum_exp, qkv, ("softmax", "log", "matmul")),
    Form("softmin", softmin, qkv, ("neg", "softmax")),
    Form("columns_of_the_transpose", columns_of_the_transpose, qkv, ("softmax", "transpose")),
    Form("powers_of_two", powers_of_two, qkv, ("reduce_dims", "exp2", "div")),
    Form("off_by_one", off_by_one, qkv, ("reduce_dims", "maximum", "exp", "div")),
    Form("temperatures", temperatures, lambda: (*qkv(), _random(4, 1, 1)), ("mul", "softmax")),
    Form("scaled_keys", scaled_keys, qkv, ("div", "matmul", "div", "softmax")),
    Form("chained_masks", chained_masks, lambda: (*qkv(), padding()), ("where", "maximum")),
    Form("shifted", shifted_positions, lambda: (*qkv(), _random(2, 4, 9, 8)), ("add", "mul")),
    Form("triangles", triangles, lambda: qkv(4, 7), ("iota", "softmax", "iota")),
    Form("raised", raised, _raised, ("matmul", "unsqueeze", "add", "view", "softmax")),
    Form("raised_weights", raised_weights, _raised, ("matmul", "add", "softmax", "matmul")),
    Form("selected", selected, _raised, ("matmul", "unsqueeze", "add", "view", "softmax")),
    Form("times_bytes", times_integers, lambda: _integers(torch.uint8), ("mul", "sub")),
    Form("times_integers", times_integers, lambda: _integers(torch.int64), ("mul", "sub")),
    Form("times_made_integers", times_made_integers, qkv, ("mul", "sub")),
    Form("all_hidden", all_hidden, _hidden_rows, ("matmul", "where", "softmax", "matmul")),
    Form("any_visible", any_visible, _hidden_rows, ("matmul", "where", "softmax", "matmul")),
    Form("safe_softmax", safe_softmax, _hidden_rows, ("matmul", "where", "softmax", "matmul")),
    Form("quantized", quantized, _quantized, ("round", "larger", "softmax", "round")),
)
