"""FlexAttention, compiled: bias and soft cap in ``score_mod``, visibility in a block mask.

The block mask is made once, before the timing. Where Inductor cannot compile it with dynamic sizes
(it stumbles over some modifications), the sizes are static: more than the others are granted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._inductor.exc import InductorError
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from benchmarks.meanings import Meaning
from benchmarks.peers.base import Inputs
from benchmarks.rows import Row
from benchmarks.sources import Form


def build(row: Row, inputs: Inputs) -> Form:
    """The compiled form, after its first call."""
    try:
        return _compiled(row, inputs, dynamic=True)
    except InductorError:
        return _compiled(row, inputs, dynamic=False)


def _compiled(row: Row, inputs: Inputs, dynamic: bool) -> Form:
    score_mod, block_mask = _score_mod(row.meaning, inputs), _block_mask(row.meaning, inputs)
    attention: Any = torch.compile(flex_attention, dynamic=dynamic)

    def call(q: Tensor, k: Tensor, v: Tensor, *extras: Tensor) -> Any:
        return attention(q, k, v, score_mod, block_mask, row.meaning.scale, bool(row.kv_heads))

    call(*inputs)
    return call


def _score_mod(meaning: Meaning, inputs: Inputs) -> Callable[..., Tensor] | None:
    """What happens to a score, in FlexAttention's terms."""
    cap, bias = meaning.soft_cap, meaning.bias(*inputs) if meaning.bias else None
    if bias is None and not cap:
        return None

    def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        score = cap * torch.tanh(score / cap) if cap else score
        return score if bias is None else score + bias(b, h, i, j)

    return score_mod


def _block_mask(meaning: Meaning, inputs: Inputs) -> BlockMask | None:
    """Which blocks are visible: one for all heads, and for the batch where it has one mask."""
    if meaning.visible is None:
        return None
    q, k = inputs[:2]
    batch = q.shape[0] if len(inputs) > 3 else None
    return create_block_mask(
        meaning.visible(*inputs), batch, None, q.shape[2], k.shape[2], device="cpu"
    )
