"""Encoders of text."""

from __future__ import annotations

from typing import Any

from tests.models.case import EAGER, Case, Refused, hugging, ids, text

HIDDEN: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 4}
SMALL: dict[str, Any] = {**HIDDEN, "vocab_size": 100, "num_hidden_layers": 2}


def _layout(batch: int, length: int) -> dict[str, Any]:
    boxes = (ids(batch, length)[..., None] * 4).expand(batch, length, 4)
    return {**text(batch, length), "bbox": boxes}


def _plain(name: str, **config: Any) -> Case:
    return Case(name, hugging(name, **SMALL, **config), text)


CASES = (
    _plain("Bert"),
    _plain("Albert", embedding_size=16),
    _plain("Roberta"),
    Case(
        "DistilBert",
        hugging("DistilBert", vocab_size=100, dim=32, n_layers=2, n_heads=4, hidden_dim=32),
        text,
    ),
    _plain("Electra", embedding_size=16),
    Case(
        "DebertaV2",
        hugging(
            "DebertaV2",
            **SMALL,
            relative_attention=True,
            position_buckets=8,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
        ),
        text,
        implementations=EAGER,
    ),
    Case("MPNet", hugging("MPNet", **SMALL), text, implementations=EAGER),
    Case("LayoutLM", hugging("LayoutLM", **SMALL), _layout),
    Case("RoFormer", hugging("RoFormer", **SMALL), text, implementations=EAGER),
    Case(
        "ModernBert",
        hugging(
            "ModernBert",
            **SMALL,
            local_attention=8,
            global_attn_every_n_layers=2,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            cls_token_id=1,
            sep_token_id=2,
        ),
        text,
    ),
    Case("Esm", hugging("Esm", **SMALL, pad_token_id=1, position_embedding_type="rotary"), text),
    Case(
        "XLNet",
        hugging("XLNet", vocab_size=100, d_model=32, n_layer=2, n_head=4, d_inner=32),
        text,
        implementations=EAGER,
    ),
    Case(
        "ConvBert",
        hugging("ConvBert", **SMALL, embedding_size=32, head_ratio=2),
        text,
        refused=Refused(2, "no score product above", "softmax over the taps of a convolution"),
        implementations=EAGER,
    ),
)
