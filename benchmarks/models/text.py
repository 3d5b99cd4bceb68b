"""Models of text: BERT-base, an encoder of MiniLM's size, T5's encoder, a Llama of four layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.encoder import Encoder, text
from benchmarks.models.case import Family, Inputs, fixed, noise

RAGGED = (128, 97, 64, 50, 31, 22, 16, 9)
"""Tokens of the texts of a batch."""
LLAMA_LAYERS, KV_HEADS, HEAD_DIM = 4, 8, 64


class T5Encoder(nn.Module):
    """Ids [B, S] to hidden states."""

    def __init__(self, layers: int = 12) -> None:
        from transformers import T5Config, T5EncoderModel

        super().__init__()
        config = T5Config(d_model=768, d_kv=64, d_ff=3072, num_layers=layers, num_heads=12)
        config._attn_implementation = "eager"
        self.encoder: Any = T5EncoderModel(config)

    def forward(self, input_ids: Tensor) -> Any:
        """Hidden states of the last layer."""
        return self.encoder(input_ids=input_ids).last_hidden_state


class Llama(nn.Module):
    """Ids [1, S] to hidden states, without the head."""

    def __init__(self) -> None:
        from transformers import LlamaConfig, LlamaModel

        super().__init__()
        config = LlamaConfig(
            hidden_size=2048,
            intermediate_size=8192,
            num_attention_heads=32,
            num_key_value_heads=KV_HEADS,
            num_hidden_layers=LLAMA_LAYERS,
            attn_implementation="eager",
        )
        self.llama: Any = LlamaModel(config)

    def forward(self, input_ids: Tensor) -> Any:
        """Prefill."""
        return self.llama(input_ids=input_ids, use_cache=False).last_hidden_state


class LlamaStep(Llama):
    """One token after others, of which keys and values are given [layers, 2, B, heads, S, D]."""

    def forward(self, input_ids: Tensor, past: Tensor) -> Any:  # type: ignore[override]
        """The step of decoding."""
        cache = {cache_argument(self.llama): filled(past)}
        return self.llama(input_ids=input_ids, use_cache=True, **cache).last_hidden_state


def cache_argument(model: nn.Module) -> str:
    """What the model's version of transformers calls its cache."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def filled(past: Tensor) -> Any:
    """A cache of transformers that holds keys and values [layers, 2, …]."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache: Any = DynamicCache()
    for keys, values in past.unbind():
        layer: Any = DynamicLayer()
        layer.lazy_initialization(keys, values)
        # Not by update(), which would copy them in every call, as no step of generation does.
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache


def to_sdpa(model: nn.Module) -> None:
    """Turn the models of transformers in a module to SDPA."""
    from transformers import PreTrainedModel

    for part in list(model.children()):
        if isinstance(part, PreTrainedModel):
            part.set_attn_implementation("sdpa")


def ids(batch: int, length: int) -> Tensor:
    """Random ids."""
    return text(length, 30000)[0].expand(batch, length).contiguous()


def ragged() -> Inputs:
    """Texts of different lengths in one batch, with padding at their ends."""
    longest = max(RAGGED)
    lengths = torch.tensor(RAGGED)[:, None]
    return ids(len(RAGGED), longest), (torch.arange(longest) < lengths).long()


def _texts(family: str, *lengths: int) -> dict[str, Callable[[], Inputs]]:
    return {f"{family}-{length}": partial(text, length) for length in lengths}


def _prompt(length: int) -> Inputs:
    return (ids(1, length),)


def _step() -> Inputs:
    past = noise(LLAMA_LAYERS, 2, 1, KV_HEADS, 128, HEAD_DIM)
    return ids(1, 1), fixed(past, 0, 1, 3, 5)


_MINILM = partial(Encoder, 6, hidden_size=384, intermediate_size=1536, num_attention_heads=12)

FAMILIES = (
    Family(
        "bert",
        partial(Encoder, 12),
        {**_texts("bert", 8, 16, 31, 64, 128, 384), "bert-ragged": ragged},
        to_sdpa,
    ),
    Family("minilm", _MINILM, _texts("minilm", 16, 128), to_sdpa),
    Family(
        "t5",
        T5Encoder,
        {f"t5-{length}": partial(_prompt, length) for length in (128, 512)},
        to_sdpa,
    ),
    Family("llama", Llama, {"llama-128": partial(_prompt, 128)}, to_sdpa),
    Family("llama step", LlamaStep, {"llama-step": _step}, to_sdpa, in_mean=False),
)
