"""The model of the demo: a BERT of transformers with random weights, and texts for it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch


class Encoder(torch.nn.Module):
    """A transformers BERT that maps ids and mask [B, S] to hidden states [B, S, hidden].

    It is BERT-base but for the layers and what ``widths`` say.
    """

    def __init__(self, layers: int, **widths: int) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        config = BertConfig(num_hidden_layers=layers, attn_implementation="eager", **widths)
        self.bert: Any = BertModel(config, add_pooling_layer=False)
        self.eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Hidden states of the last layer."""
        outputs = self.bert(input_ids=input_ids, attention_mask=attention_mask)
        return outputs.last_hidden_state  # type: ignore[no-any-return]

    def copied(self, dtype: torch.dtype) -> Encoder:
        """The same weights, rounded to a type."""
        return deepcopy(self).to(dtype)


def text(length: int, vocabulary: int = 30522) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids [1, length] and a mask that shows all of them."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(vocabulary, (1, length), generator=generator)
    return ids, torch.ones(1, length, dtype=torch.long)
