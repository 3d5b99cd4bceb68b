"""The grid of the attention benchmark: the sizes, with why each is there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.meanings import MEANINGS, Meaning, visible_pairs
from benchmarks.precisions import F32, Precision
from benchmarks.sources import SOURCES, Source

COLD_BYTES = 256 * 2**20
"""What the keys and values of a cold row take together: more than the caches hold."""


@dataclass(frozen=True)
class Row:
    """One attention.

    source   the name of its form in ``sources`` and of what it computes in ``meanings``
    queries  and ``keys``: the lengths; ``keys`` 0 is as many as queries
    kv_heads heads of keys and values; 0 is as many as of queries
    cold     memory limits it: each call reads keys and values that have left the caches, as the
             layers of a decoder do
    precision the type of all floats
    """

    name: str
    source: str
    batch: int
    heads: int
    queries: int
    head_dim: int
    keys: int = 0
    kv_heads: int = 0
    cold: bool = False
    precision: Precision = F32

    @property
    def model(self) -> Source:
        """The form as the model writes it."""
        return SOURCES[self.source]

    @property
    def meaning(self) -> Meaning:
        """What the form computes."""
        return MEANINGS[self.source]

    @property
    def shape(self) -> str:
        """The sizes as the tables show them: B,H,S,D; 32/8 are grouped heads, 1×512 lengths."""
        heads = f"{self.heads}/{self.kv_heads}" if self.kv_heads else f"{self.heads}"
        lengths = f"{self.queries}×{self.keys}" if self.keys else f"{self.queries}"
        return f"{self.batch},{heads},{lengths},{self.head_dim}"

    def input_sets(self) -> list[tuple[Tensor, ...]]:
        """The inputs of successive calls: several queries, keys and values for a cold row."""
        first = self.inputs()
        kv_bytes = 2 * first[1].nbytes
        count = max(2, -(-COLD_BYTES // kv_bytes)) if self.cold else 1
        return [first] + [(*self.inputs(seed)[:3], *first[3:]) for seed in range(1, count)]

    def inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Query, key and value [B, H, S, D], and what else the source takes: normal.

        Heads and head size are marked as static, as they are in a model.
        """
        generator = torch.Generator().manual_seed(seed)
        kv = (self.batch, self.kv_heads or self.heads, self.keys or self.queries, self.head_dim)
        sizes = ((self.batch, self.heads, self.queries, kv[3]), kv, kv)
        dtype = self.precision.dtype
        q, k, v = (torch.randn(size, generator=generator).to(dtype) for size in sizes)
        extras = self.model.extras(q, k, generator)
        for tensor in (q, k, v):
            torch._dynamo.mark_static(tensor, [1, 3])
        for tensor in extras:
            if tensor.dim() == 4:
                torch._dynamo.mark_static(tensor, [1])
        return (q, k, v, *extras)

    def flops(self, inputs: tuple[Tensor, ...]) -> int:
        """Floating-point operations of the two products, for the visible pairs alone."""
        return 4 * self.head_dim * visible_pairs(self.meaning, inputs)


ROWS = (
    Row("short", "plain", 1, 12, 31, 64),  # the field's mean text: overheads dominate
    Row("short-8", "plain", 8, 12, 31, 64),
    Row("encoder-128", "padding", 1, 12, 128, 64),  # one block of keys, a few tasks a thread
    Row("encoder-384", "padding", 1, 12, 384, 64),
    Row("encoder-8x384", "padding", 8, 12, 384, 64),  # scores leave the second-level cache
    Row("vision", "plain", 1, 12, 197, 64),  # a length that no block divides
    Row("vision-8", "plain", 8, 12, 197, 64),
    Row("bias", "relative_bias", 1, 12, 512, 64),  # reads as many bytes as there are scores
    Row("windows", "windows", 64, 4, 49, 32),  # many small tasks, each with its own mask
    Row("cross", "plain", 2, 8, 4096, 40, keys=77),  # short keys and an odd head size
    Row("self-4096", "plain", 1, 8, 4096, 40),  # the scores would take 512 MiB
    Row("self-4250", "plain", 1, 24, 4250, 64),
    Row("self-1500", "plain", 1, 20, 1500, 64),
    Row("causal-512", "causal", 1, 32, 512, 128, kv_heads=8),  # half of the pairs are visible
    Row("causal-2048", "causal", 1, 32, 2048, 128, kv_heads=8),
    Row("decode-512", "grouped", 1, 32, 1, 128, keys=512, kv_heads=8, cold=True),
    Row("decode-2048", "grouped", 1, 32, 1, 128, keys=2048, kv_heads=8, cold=True),
    Row("decode-8192", "grouped", 1, 32, 1, 128, keys=8192, kv_heads=8, cold=True),
    Row("decode-mha-512", "grouped", 1, 32, 1, 128, keys=512, cold=True),
    Row("decode-mha-2048", "grouped", 1, 32, 1, 128, keys=2048, cold=True),
    Row("decode-mha-8192", "grouped", 1, 32, 1, 128, keys=8192, cold=True),
    Row("soft-cap", "soft_cap", 1, 8, 2048, 256),  # wide heads, tanh, and a sliding window
    Row("alibi", "alibi", 1, 16, 512, 64),
    Row("builder", "builder", 2, 12, 512, 64),  # a mask that the graph builds
    Row("builder-sdpa", "builder_sdpa", 2, 12, 512, 64),
    Row("masked-fill", "masked_fill", 1, 12, 512, 64),
)


def select(names: list[str], precision: Precision = F32) -> list[Row]:
    """The rows of the given names, all for none. Raises KeyError for an unknown name."""
    known = {row.name: replace(row, precision=precision) for row in ROWS}
    return [known[name] for name in names] if names else list(known.values())
