"""What each source of a row computes, as functions of positions.

From one description follow the float64 reference, the number of visible pairs, the mask of the
form with SDPA, and the modifications of the form with FlexAttention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.sources import SOFT_CAP, WINDOW

At = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""A value for batch, head, query and key position, which broadcast."""


@dataclass(frozen=True)
class Meaning:
    """Scores are ``q·k * scale``, then capped, then ``bias`` is added; some pairs are visible.

    scale     of the products; None: ``1 / sqrt(D)``
    soft_cap  c in ``c * tanh(scores / c)``; 0 for none
    bias      what is added to a score, from all tensors of the source
    visible   which keys a query sees, likewise
    causal    ``visible`` is the lower triangle and nothing else
    """

    scale: float | None = None
    soft_cap: float = 0.0
    bias: Callable[..., At] | None = None
    visible: Callable[..., At] | None = None
    causal: bool = False


def _causal(*tensors: Tensor) -> At:
    return lambda b, h, i, j: j <= i


def _window(*tensors: Tensor) -> At:
    return lambda b, h, i, j: (j <= i) & (j > i - WINDOW)


def _unmasked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> At:
    return lambda b, h, i, j: mask[b, 0, 0, j] == 0


def _causal_tokens(q: Tensor, k: Tensor, v: Tensor, tokens: Tensor) -> At:
    return lambda b, h, i, j: (j <= i) & (tokens[b, j] != 0)


def _bias(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> At:
    return lambda b, h, i, j: bias[0, h, i, j]


def _window_bias(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> At:
    count = mask.shape[0]
    return lambda b, h, i, j: bias[0, h, i, j] + mask[b % count, 0, i, j]


def _slopes(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> At:
    heads = q.shape[1]
    return lambda b, h, i, j: slopes[b * heads + h, 0, j]


MEANINGS = {
    "plain": Meaning(),
    "padding": Meaning(visible=_unmasked),
    "relative_bias": Meaning(scale=1.0, bias=_bias),
    "windows": Meaning(bias=_window_bias),
    "grouped": Meaning(),
    "causal": Meaning(visible=_causal, causal=True),
    "soft_cap": Meaning(soft_cap=SOFT_CAP, visible=_window),
    "alibi": Meaning(bias=_slopes, visible=_causal),
    "builder": Meaning(visible=_causal_tokens),
    "builder_sdpa": Meaning(visible=_causal_tokens),
    "masked_fill": Meaning(visible=_causal, causal=True),
}
"""By the name of the source."""


def positions(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Batch, head, query and key position, each along its own dimension of [B, H, S, S]."""
    sizes = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    b, h, i, j = (torch.arange(size) for size in sizes)
    return b[:, None, None, None], h[:, None, None], i[:, None], j


def visible_pairs(meaning: Meaning, inputs: Sequence[Tensor]) -> int:
    """How many pairs of query and key the softmax sees, over all heads and the batch."""
    q, k = inputs[:2]
    pairs = q.shape[0] * q.shape[2] * k.shape[2]
    if meaning.visible:
        b, h, i, j = positions(q, k)
        seen = meaning.visible(*inputs)(b, h[:1], i, j)
        pairs = int(seen.expand(q.shape[0], 1, q.shape[2], k.shape[2]).sum())
    return pairs * q.shape[1]


def additive_mask(meaning: Meaning, inputs: Sequence[Tensor]) -> Tensor | None:
    """Bias and visibility as one tensor [B, H, S, S] to add, of size 1 where it would repeat."""
    where = positions(*inputs[:2])
    mask = meaning.bias(*inputs)(*where) if meaning.bias else None
    if meaning.visible:
        hidden = ~meaning.visible(*inputs)(*where)
        start = inputs[0].new_zeros(()) if mask is None else mask
        mask = torch.where(hidden, float("-inf"), start)
    return None if mask is None else mask[(None,) * (4 - mask.dim())]


def exact(meaning: Meaning, inputs: Sequence[Tensor]) -> Tensor:
    """The attention in float64, head by head: whole scores of the largest row take 4 GiB."""
    inputs = [x.double() if x.is_floating_point() else x for x in inputs]
    q, k, v = inputs[:3]
    times = q.shape[1] // k.shape[1]
    heads = [
        _exact_head(meaning, inputs, head, q[:, head], k[:, head // times], v[:, head // times])
        for head in range(q.shape[1])
    ]
    return torch.stack(heads, dim=1)


def _exact_head(
    meaning: Meaning, inputs: Sequence[Tensor], head: int, q: Tensor, k: Tensor, v: Tensor
) -> Tensor:
    """One head [B, S, D] of ``exact``."""
    scale = meaning.scale if meaning.scale is not None else q.shape[-1] ** -0.5
    scores = q @ k.transpose(1, 2) * scale
    if meaning.soft_cap:
        scores = torch.tanh(scores / meaning.soft_cap) * meaning.soft_cap
    b, _, i, j = positions(*inputs[:2])
    where = (b[:, 0], torch.tensor(head), i, j)
    if meaning.bias:
        scores = scores + meaning.bias(*inputs)(*where)
    if meaning.visible:
        scores = scores.masked_fill(~meaning.visible(*inputs)(*where), float("-inf"))
    return torch.softmax(scores, dim=-1) @ v
