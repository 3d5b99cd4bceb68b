"""SDPA: the row written by hand with ``F.scaled_dot_product_attention``.

A mask that the layers of a model would share is made once, before the timing. Decoding with grouped
heads has two forms: ``enable_gqa``, and the queries of a group as rows of one head.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from benchmarks.meanings import additive_mask
from benchmarks.peers.base import Absent, Inputs, fastest
from benchmarks.rows import Row
from benchmarks.sources import Form


def build(row: Row, inputs: Inputs) -> Form:
    """The fastest form for the row, its mask made. Raises Absent as ``forms`` does."""
    masks = shared_mask(row, inputs)
    chosen = fastest(forms(row), (*inputs[:3], *masks))
    return lambda q, k, v, *extras: chosen(q, k, v, *masks)


def forms(row: Row) -> list[Form]:
    """Functions of q, k, v and the shared mask. Raises Absent where none can express the row."""
    if row.meaning.soft_cap:
        raise Absent("it has no soft cap")
    causal, scale = row.meaning.causal, row.meaning.scale
    grouped = bool(row.kv_heads)

    def by_heads(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=causal, scale=scale, enable_gqa=grouped
        )

    return [by_heads, _groups_as_rows] if grouped and row.queries == 1 else [by_heads]


def shared_mask(row: Row, inputs: Inputs) -> tuple[Tensor, ...]:
    """The mask that is added, if ``is_causal`` is not enough."""
    mask = None if row.meaning.causal else additive_mask(row.meaning, inputs)
    return () if mask is None else (mask,)


def _groups_as_rows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Grouped heads of one query each, without a mask."""
    rows = q.view(q.shape[0], k.shape[1], -1, q.shape[3])
    return F.scaled_dot_product_attention(rows, k, v).view(q.shape)
