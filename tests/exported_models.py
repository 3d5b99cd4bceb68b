"""Small exported programs for the tests of the command line and of the files."""

from __future__ import annotations

import torch
from torch.export import Dim, ExportedProgram


class TinyAttention(torch.nn.Module):
    """Ids [B, S] to states [B, S, 64] by one attention of 4 heads with an additive mask."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(100, 64)
        self.kinds = torch.nn.Embedding(3, 64)
        self.projection = torch.nn.Linear(64, 192)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, *, kinds: torch.Tensor
    ) -> torch.Tensor:
        """Attention over the embedded ids; the mask [B, S] is added to the scores."""
        states = self.embedding(ids) + self.kinds(kinds)
        batch, length, _ = states.shape
        parts = self.projection(states).view(batch, length, 3, 4, 16).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        scores = q @ k.transpose(-1, -2) * 0.25 + mask[:, None, None, :]
        merged: torch.Tensor = (scores.softmax(-1) @ v).transpose(1, 2)
        return merged.reshape(batch, length, 64)


def tiny_attention() -> ExportedProgram:
    """TinyAttention with a batch of 1 to 64 and a length of 2 to 512, exported at [2, 7]."""
    torch.manual_seed(0)
    sizes = {0: Dim("batch", min=1, max=64), 1: Dim("length", min=2, max=512)}
    ids, kinds = torch.zeros(2, 7, dtype=torch.long), torch.zeros(2, 7, dtype=torch.long)
    with torch.no_grad():
        return torch.export.export(
            TinyAttention().eval(),
            (ids, torch.zeros(2, 7)),
            {"kinds": kinds},
            dynamic_shapes={"ids": sizes, "mask": sizes, "kinds": sizes},
        )
