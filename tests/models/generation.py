"""Models that generate text, with inputs of a batch of two padded on the left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.models.case import BOTH, EAGER, Case, hugging, ids, padding
from tests.models.decoders import GROUPED, HEADED
from tests.models.encoder_decoders import LAYERS, WIDTHS

_GPT2: dict[str, Any] = {"vocab_size": 100, "n_embd": 32, "n_layer": 2, "n_head": 4}


def _generator(
    name: str, build: Callable[[str], torch.nn.Module], fused: int, forms: tuple[str, ...] = BOTH
) -> Case:
    def inputs(batch: int, length: int) -> dict[str, Any]:
        mask = padding(batch, length, left=True)
        return {"input_ids": ids(batch, length), "attention_mask": mask}

    return Case(name, build, inputs, fused, implementations=forms)


GENERATORS = (
    _generator("Llama", hugging("Llama", "ForCausalLM", **GROUPED), 2),
    _generator("GPT2", hugging("GPT2", "LMHeadModel", **_GPT2), 2),
    _generator("Mistral", hugging("Mistral", "ForCausalLM", **GROUPED, sliding_window=5), 2),
    _generator("Gemma2", hugging("Gemma2", "ForCausalLM", **HEADED, sliding_window=5), 2, EAGER),
    _generator("Bart", hugging("Bart", "ForConditionalGeneration", **WIDTHS, **LAYERS), 4),
)
"""``fused`` counts what one step of the decoder holds."""
