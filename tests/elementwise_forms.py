"""Chains of elementwise operations as models write them, for the tests that compile them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 24


class _Model(nn.Module):
    """A function of a vector of parameters and of inputs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.g = nn.Parameter(torch.randn(WIDTH))

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


@dataclass(frozen=True)
class Chain:
    """A function of a model and its inputs, how many inputs [batch, length, width], and kernels."""

    function: Callable[..., Any]
    inputs: int = 1
    kernels: int = 1

    def model(self) -> nn.Module:
        """The model, always the same."""
        torch.manual_seed(0)
        return _Model(self.function).eval()

    def given(self, batch: int, length: int) -> tuple[Tensor, ...]:
        """Random inputs."""
        torch.manual_seed(length)
        return tuple(torch.randn(batch, length, WIDTH) for _ in range(self.inputs))


def _gelu_by_tanh(m: Any, x: Tensor) -> Tensor:
    """As GPT-2 of transformers writes it."""
    inner = (2 / torch.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0))
    return 0.5 * x * (1.0 + torch.tanh(inner))


def _gelu_by_erf(m: Any, x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.erf(x / 2.0**0.5))


def _halves(m: Any, x: Tensor) -> Tensor:
    """A gate of the other half of the features."""
    a, b = x.chunk(2, dim=-1)
    return F.silu(a) * b


def _with_sum(m: Any, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    h = x + r
    return h, F.relu(h) * m.g


def _with_mask(m: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    mask = x > 0.3
    return torch.where(mask & (y < 1), x - y, 0.01 * x), mask


def _modulated(m: Any, x: Tensor, c: Tensor) -> Tensor:
    """As DiT does: the condition is one row for a whole batch element."""
    shift, scale = c[:, 0], c[:, -1]
    return x * (1 + scale[:, None]) + shift.unsqueeze(1)


def _pairs_of_rows(m: Any, x: Tensor, y: Tensor) -> Tensor:
    return F.relu(x[:, :, None] - y[:, None]) * 0.5


def _shared(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """The parameters' function is read twice, once as it is."""
    g = m.g.exp()
    return x * g + 1.0, g


CHAINS: dict[str, Chain] = {
    "gate": Chain(lambda m, a, b, r: torch.sigmoid(a) * b + r, 3),
    "layer scale": Chain(lambda m, x, r: x * m.g + r, 2),
    "gelu by tanh": Chain(_gelu_by_tanh),
    "gelu by erf": Chain(_gelu_by_erf),
    "halves": Chain(_halves),
    "with a sum": Chain(_with_sum, 2),
    "with a mask": Chain(_with_mask, 2),
    "modulated": Chain(_modulated, 2),
    "pairs of rows": Chain(_pairs_of_rows, 2),
    "shared": Chain(_shared),
    "dropout that is off": Chain(lambda m, x, r: F.dropout(x * 2, 0.1, m.training) + r, 2),
    "soft cap": Chain(lambda m, x: torch.tanh(x / 30) * 30),
    "numbers": Chain(lambda m, x: (x * 0.5 + 1).clamp(-1, 1)),
    "transposed": Chain(lambda m, x, y: x.transpose(0, 1) * 2 + y.transpose(0, 1), 2),
    "transposed behind": Chain(lambda m, x, y: (x * 2 + y).transpose(1, 2), 2),
    "in two layouts": Chain(lambda m, x: F.silu(x.mT + 1) * x.transpose(1, 2).contiguous()),
}
