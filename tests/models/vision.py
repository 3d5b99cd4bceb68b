"""Encoders of pictures, and of pictures with text."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from tests.models.case import EAGER, Case, fixed_image, hugging, image, text
from tests.models.text_encoders import HIDDEN, SMALL

_VIT: dict[str, Any] = {**HIDDEN, "num_hidden_layers": 2, "image_size": 32, "patch_size": 8}
_BATCHES = ((2, 32), (3, 32), (5, 32))
_SIDES = ((2, 32), (3, 48), (2, 64))
_SWIN: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 2,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}


def _vit(name: str, model: str = "Model", **config: Any) -> Case:
    return Case(name, hugging(name, model, **_VIT, **config), image, sizes=_BATCHES)


def _clip(name: str) -> Case:
    towers: dict[str, Any] = {
        "text_config": {**SMALL, "eos_token_id": 5, "max_position_embeddings": 40},
        "vision_config": _VIT,
    }

    def inputs(batch: int, length: int) -> dict[str, Any]:
        return {**text(batch, length), **image(batch, 32)}

    return Case(name, hugging(name, **towers), inputs, fused=4)


def _detr(implementation: str) -> torch.nn.Module:
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        layer_type="basic",
        out_features=["stage2"],
        attn_implementation="eager",
    )
    config = transformers.DetrConfig(
        backbone_config=backbone,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=5,
        # The backbone has no attention, and transformers refuses any form but eager for it.
        attn_implementation={"": implementation, "backbone_config": "eager"},
    )
    model: torch.nn.Module = transformers.DetrModel(config)
    return model


def _sam(implementation: str) -> torch.nn.Module:
    config = transformers.SamVisionConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=4,
        output_channels=16,
        window_size=3,
        global_attn_indexes=[1],
        mlp_dim=32,
        attn_implementation=implementation,
    )
    model: torch.nn.Module = transformers.SamVisionModel(config)
    return model


CASES = (
    _vit("ViT"),
    _vit("DeiT"),
    _vit("Beit", use_relative_position_bias=True),
    _vit("Dinov2"),
    Case("Siglip", hugging("SiglipVision", **_VIT), image, fused=3, sizes=_BATCHES),
    _clip("CLIP"),
    Case("Swin", hugging("Swin", **_SWIN), fixed_image, fused=4, sizes=_BATCHES),
    Case(
        "Swinv2",
        hugging("Swinv2", **_SWIN),
        fixed_image,
        fused=4,
        sizes=_BATCHES,
        implementations=EAGER,
    ),
    Case(
        "Segformer",
        hugging(
            "Segformer",
            num_encoder_blocks=2,
            depths=[1, 1],
            sr_ratios=[2, 1],
            hidden_sizes=[16, 32],
            patch_sizes=[3, 3],
            strides=[2, 2],
            num_attention_heads=[2, 4],
            mlp_ratios=[1, 1],
        ),
        image,
        sizes=_SIDES,
        implementations=EAGER,
    ),
    Case("Detr", _detr, image, fused=6, sizes=_SIDES),
    Case("Sam", _sam, image, sizes=_BATCHES),
    Case(
        "Pvt",
        hugging(
            "Pvt",
            image_size=32,
            num_encoder_blocks=2,
            depths=[1, 1],
            sequence_reduction_ratios=[2, 1],
            hidden_sizes=[16, 32],
            patch_sizes=[4, 2],
            strides=[4, 2],
            num_attention_heads=[2, 4],
            mlp_ratios=[1, 1],
        ),
        image,
        sizes=_BATCHES,
        implementations=EAGER,
    ),
)
