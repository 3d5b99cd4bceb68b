"""Embeddings as models sum them, for the tests that compile them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WORDS, PLACES, FEATURES = 50, 40, 24


class _Model(nn.Module):
    """Tables, a norm, and positions as buffers; a function of them and ids."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        self.words = nn.Embedding(WORDS, FEATURES, padding_idx=0)
        self.places = nn.Embedding(PLACES, FEATURES)
        self.types = nn.Embedding(2, FEATURES)
        self.norm = nn.LayerNorm(FEATURES)
        self.positions: Tensor
        self.register_buffer("positions", torch.arange(PLACES)[None])
        self.register_buffer("zeros", torch.zeros(1, PLACES, dtype=torch.long))

    def forward(self, ids: Tensor) -> Any:
        return self.function(self, ids)


def _bert(m: Any, ids: Tensor) -> Tensor:
    """Types are expanded to the batch, positions are of one row."""
    batch, length = ids.shape
    types = m.zeros[:, :length].expand(batch, length)
    summed = m.words(ids) + m.types(types)
    result: Tensor = m.norm(summed + m.places(m.positions[:, :length]))
    return result


def _gpt(m: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The sum is read again behind the first layer."""
    hidden = m.words(ids) + m.places(m.positions[:, : ids.shape[1]])
    return hidden, m.norm(hidden)


def _llama(m: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    hidden = m.words(ids)
    return hidden * 2, F.rms_norm(hidden, (FEATURES,), m.norm.weight)


def _expanded(m: Any, ids: Tensor) -> Tensor:
    """Positions that are repeated for the batch by a stride of 0; one table that is read twice."""
    places = m.positions[:, : ids.shape[1]].expand(ids.shape)
    summed = m.words(ids) * 3 + m.places(places) + m.places(ids.clamp(max=PLACES - 1))
    result: Tensor = m.norm(summed)
    return result


@dataclass(frozen=True)
class Form:
    """A function of a model and ids, and how many kernels it becomes."""

    function: Callable[..., Any]
    kernels: int = 1

    def model(self) -> nn.Module:
        """The model, with weights that are not all alike."""
        torch.manual_seed(0)
        model = _Model(self.function).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        return model


def ids_of(batch: int, length: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Ids of words."""
    torch.manual_seed(length)
    return torch.randint(0, WORDS, (batch, length), dtype=dtype)


FORMS: dict[str, Form] = {
    "words, types and places": Form(_bert),
    "words and places, read again": Form(_gpt),
    "words and places": Form(
        lambda m, ids: m.words(ids) + m.places(m.positions[:, : ids.shape[1]])
    ),
    "places of no batch": Form(
        lambda m, ids: m.words(ids) + m.places(torch.arange(ids.shape[1], device=ids.device))
    ),
    "words, read again": Form(_llama),
    "expanded places": Form(_expanded),
    "scaled": Form(lambda m, ids: m.norm(m.words(ids) * 24**0.5)),
    "normalized": Form(lambda m, ids: m.norm(m.words(ids))),
    "index_select": Form(lambda m, ids: m.norm(m.words.weight.index_select(0, ids[:, 0]))),
    "alone": Form(lambda m, ids: m.words(ids), 0),
    "scaled alone": Form(lambda m, ids: m.words(ids) * 3, 0),
}

OF_OTHERS: dict[str, Form] = {
    "of a largest norm": Form(
        lambda m, ids: m.norm(F.embedding(ids, m.places.weight[:WORDS].repeat(2, 1), max_norm=1.0))
    ),
    "of sparse gradients": Form(
        lambda m, ids: m.norm(F.embedding(ids, m.words.weight, sparse=True))
    ),
}
