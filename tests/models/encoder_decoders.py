"""Encoders with decoders of text."""

from __future__ import annotations

from typing import Any

from tests.models.case import EAGER, Case, hugging, pair

WIDTHS: dict[str, Any] = {
    "vocab_size": 100,
    "d_model": 32,
    "pad_token_id": 0,
    "decoder_start_token_id": 2,
}
LAYERS: dict[str, Any] = {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
}


def _bart(name: str) -> Case:
    return Case(name, hugging(name, **WIDTHS, **LAYERS), pair, fused=6)


_T5: dict[str, Any] = {**WIDTHS, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 4}

CASES = (
    Case("T5", hugging("T5", **_T5), pair, fused=6),
    _bart("Bart"),
    _bart("Marian"),
    _bart("Pegasus"),
    _bart("Blenderbot"),
    Case(
        "ProphetNet",
        hugging(
            "ProphetNet",
            vocab_size=100,
            hidden_size=32,
            num_encoder_layers=2,
            num_decoder_layers=2,
            num_encoder_attention_heads=4,
            num_decoder_attention_heads=4,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
        ),
        pair,
        fused=8,  # two streams in each layer of the decoder
        implementations=EAGER,
    ),
)
