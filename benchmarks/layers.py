"""The linear layers of models, without what stands between them: each reads what one before wrote.

Weights of several layers in turn come from memory, as in a model.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Up(nn.Linear):
    """A matrix and GELU."""

    def forward(self, input: Tensor) -> Tensor:
        """[M, in] to [M, out]."""
        return F.gelu(super().forward(input))


class Down(nn.Linear):
    """A matrix and a residual sum."""

    def forward(self, input: Tensor, x: Tensor | None = None) -> Tensor:
        """[M, in] to [M, out], x added."""
        result = super().forward(input)
        return result if x is None else x + result


class BertLayer(nn.Module):
    """The four matrices of a layer of BERT."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.attention = nn.Linear(hidden, 3 * hidden)
        self.output = nn.Linear(hidden, hidden)
        self.up, self.down = Up(hidden, inner), Down(inner, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[M, hidden] to [M, hidden]."""
        inner = self.output(self.attention(x)[..., : self.hidden])
        result: Tensor = self.down(self.up(inner), x)
        return result


class LlamaLayer(nn.Module):
    """The seven matrices of a layer of Llama, none with a bias.

    In the place of attention queries, keys and values are added, each where its heads belong.
    """

    def __init__(self, hidden: int, inner: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = heads, kv_heads, hidden // heads
        self.q = nn.Linear(hidden, heads * self.size, bias=False)
        self.k = nn.Linear(hidden, kv_heads * self.size, bias=False)
        self.v = nn.Linear(hidden, kv_heads * self.size, bias=False)
        self.o = nn.Linear(heads * self.size, hidden, bias=False)
        self.gate = nn.Linear(hidden, inner, bias=False)
        self.up = nn.Linear(hidden, inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[M, hidden] to [M, hidden]."""
        shape = (x.shape[0], self.kv_heads, -1, self.size)
        q, k, v = (each(x).view(shape) for each in (self.q, self.k, self.v))
        x = x + self.o((q + k + v).flatten(1))
        result: Tensor = x + self.down(F.silu(self.gate(x)) * self.up(x))
        return result
