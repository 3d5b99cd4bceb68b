"""The shapes of the attention benchmark, with why each is there."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Row:
    """One attention: batch, heads, query and key length, head dimension, and its mask.

    mask  ``""``, ``"padding"`` (additive, [B, 1, 1, S]) or ``"bias"`` (full, [1, H, S, S])
    """

    name: str
    batch: int
    heads: int
    length: int
    head_dim: int
    mask: str = ""

    @property
    def flops(self) -> int:
        """Floating-point operations of the two products; nothing is masked away."""
        return 4 * self.batch * self.heads * self.length**2 * self.head_dim

    @property
    def shape(self) -> str:
        """The sizes as the tables show them: B,H,S,D."""
        return f"{self.batch},{self.heads},{self.length},{self.head_dim}"

    def inputs(self, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """Query, key and value [B, H, S, D], and the mask where there is one: normal, f32."""
        generator = torch.Generator().manual_seed(seed)
        size = (self.batch, self.heads, self.length, self.head_dim)
        tensors = [torch.randn(size, generator=generator) for _ in range(3)]
        if self.mask == "padding":
            hidden = torch.rand((self.batch, 1, 1, self.length), generator=generator) < 0.1
            tensors.append(hidden * torch.finfo(torch.float32).min)
        if self.mask == "bias":
            full = (1, self.heads, self.length, self.length)
            tensors.append(torch.randn(full, generator=generator))
        return tuple(tensors)


ROWS = (
    Row("short", 1, 12, 31, 64),  # the field's mean text: overheads dominate
    Row("bert", 1, 12, 128, 64),  # one block of keys, a few tasks a thread
    Row("batch", 8, 12, 128, 64),  # many small tasks; inputs leave the second-level cache
    Row("long", 1, 12, 512, 64),  # several key blocks: the online softmax at work
    Row("image", 1, 16, 4096, 64),  # the scores would take 1 GiB; K and V exceed the caches
    Row("wide", 1, 24, 1024, 128),  # twice the head: twice the accumulators' work a load
    Row("padding", 1, 12, 512, 64, mask="padding"),  # what it costs over no mask is shown, too
    Row("bias", 1, 12, 512, 64, mask="bias"),  # reads as many bytes as there are scores
)


def select(names: list[str]) -> list[Row]:
    """The rows of the given names, all for none. Raises KeyError for an unknown name."""
    known = {row.name: row for row in ROWS}
    return [known[name] for name in names] if names else list(ROWS)
