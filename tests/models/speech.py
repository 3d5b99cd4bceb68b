"""Speech and music."""

from __future__ import annotations

from typing import Any

import torch
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig
from transformers.models.musicgen.modeling_musicgen import MusicgenModel

from tests.models.case import EAGER, Case, hugging, ids, padding, wave
from tests.models.encoder_decoders import LAYERS
from tests.models.text_encoders import SMALL

_CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": [16, 16],
    "conv_stride": [5, 4],
    "conv_kernel": [10, 8],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
}


def _waves(name: str, **config: Any) -> Case:
    return Case(name, hugging(name, **SMALL, **_CONVOLUTIONS, **config), wave)


def _whisper(batch: int, length: int) -> dict[str, Any]:
    sound = torch.sin(torch.arange(batch * 8 * 40) * 0.37).view(batch, 8, 40)
    return {"input_features": sound, "decoder_input_ids": ids(batch, length), "use_cache": False}


def _music(batch: int, length: int) -> dict[str, Any]:
    codes = torch.stack([ids(batch, length), ids(batch, length) + 1], 1).flatten(0, 1)
    memory = torch.sin(torch.arange(batch * 6 * 32) * 0.7).view(batch, 6, 32)
    return {
        "input_ids": codes,
        "encoder_hidden_states": memory,
        "encoder_attention_mask": padding(batch, 6),
        "use_cache": False,
    }


def _spectrum(batch: int, length: int) -> dict[str, Any]:
    return {"input_values": torch.sin(torch.arange(batch * 24 * 16) * 0.37).view(batch, 24, 16)}


def _codec(batch: int, length: int) -> dict[str, Any]:
    return {"input_values": wave(batch, length * 4)["input_values"][:, None]}


def _musicgen(implementation: str) -> torch.nn.Module:
    config = MusicgenDecoderConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=32,
        num_codebooks=2,
        pad_token_id=100,
        attn_implementation=implementation,
    )
    model: torch.nn.Module = MusicgenModel(config)
    return model


CASES = (
    _waves("Wav2Vec2"),
    _waves("Hubert"),
    Case("WavLM", hugging("WavLM", **SMALL, **_CONVOLUTIONS), wave, implementations=EAGER),
    Case(
        "Whisper",
        hugging(
            "Whisper",
            vocab_size=100,
            d_model=32,
            num_mel_bins=8,
            max_source_positions=20,
            max_target_positions=64,
            pad_token_id=0,
            **LAYERS,
        ),
        _whisper,
        fused=6,
    ),
    Case("Musicgen", _musicgen, _music, fused=4),
    Case(
        "AST",
        hugging(
            "AST",
            **{**SMALL, "vocab_size": 4},
            max_length=24,
            num_mel_bins=16,
            patch_size=8,
            time_stride=8,
            frequency_stride=8,
        ),
        _spectrum,
    ),
)
