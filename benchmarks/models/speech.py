"""Whisper-large, four layers: the encoder of 30 seconds, and a step of the decoder."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from benchmarks.models.case import Family, Inputs, fixed, noise
from benchmarks.models.text import cache_argument, filled, ids, to_sdpa

LAYERS, WIDTH, HEADS, MELS, SECONDS = 4, 1280, 20, 128, 30
FRAMES = 50 * SECONDS
DECODED = 64
"""Tokens before the one of the step."""


def _config() -> Any:
    from transformers import WhisperConfig

    return WhisperConfig(
        d_model=WIDTH,
        num_mel_bins=MELS,
        encoder_layers=LAYERS,
        decoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=4 * WIDTH,
        decoder_ffn_dim=4 * WIDTH,
        attn_implementation="eager",
    )


class WhisperEncoder(nn.Module):
    """A spectrum [B, mels, 2 × frames] to hidden states [B, frames, width]."""

    def __init__(self) -> None:
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        super().__init__()
        self.encoder: Any = WhisperEncoder(_config())

    def forward(self, input_features: Tensor) -> Any:
        """Hidden states of the last layer."""
        return self.encoder(input_features).last_hidden_state


class WhisperStep(nn.Module):
    """One token more, without the head.

    Keys and values [layers, 2, B, heads, S, D] of the tokens before and of the sound are given.
    """

    def __init__(self) -> None:
        from transformers.models.whisper.modeling_whisper import WhisperDecoder

        super().__init__()
        self.decoder: Any = WhisperDecoder(_config())

    def forward(self, input_ids: Tensor, hidden: Tensor, past: Tensor, sound: Tensor) -> Any:
        """The step of decoding; ``hidden`` is what the encoder made of the sound."""
        from transformers import EncoderDecoderCache

        cache = {cache_argument(self.decoder): EncoderDecoderCache(filled(past), filled(sound))}
        outputs = self.decoder(
            input_ids=input_ids, encoder_hidden_states=hidden, use_cache=True, **cache
        )
        return outputs.last_hidden_state


def _sound() -> Inputs:
    return (fixed(noise(1, MELS, 2 * FRAMES), 1, 2),)


def _step() -> Inputs:
    def keys_and_values(length: int) -> Tensor:
        return fixed(noise(LAYERS, 2, 1, HEADS, length, WIDTH // HEADS), 0, 1, 3, 5)

    hidden = fixed(noise(1, FRAMES, WIDTH), 1, 2)
    return ids(1, 1), hidden, keys_and_values(DECODED), keys_and_values(FRAMES)


FAMILIES = (
    Family("whisper encoder", WhisperEncoder, {"whisper-encoder": _sound}, to_sdpa),
    Family("whisper step", WhisperStep, {"whisper-step": _step}, to_sdpa),
)
