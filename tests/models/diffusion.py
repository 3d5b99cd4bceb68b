"""Diffusion models of diffusers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from tests.models.case import SDPA, Case

_SIDES = ((2, 8), (3, 16), (4, 12))


def _build(name: str, **config: Any) -> Callable[[str], torch.nn.Module]:
    def build(implementation: str) -> torch.nn.Module:
        model: Any = getattr(diffusers, name)(**config)
        if implementation == "eager":
            model.set_attn_processor(AttnProcessor())
        elif name.startswith(("UNet", "Auto")):
            model.set_attn_processor(AttnProcessor2_0())
        made: torch.nn.Module = model
        return made

    return build


def _wave(*shape: int) -> torch.Tensor:
    return torch.sin(torch.arange(torch.Size(shape).numel()) * 0.37).view(shape)


def _conditioned(batch: int, side: int) -> dict[str, Any]:
    return {
        "sample": _wave(batch, 4, side, side),
        "timestep": torch.full((batch,), 7),
        "encoder_hidden_states": _wave(batch, side + 1, 24),
        "return_dict": False,
    }


def _dit(batch: int, side: int) -> dict[str, Any]:
    return {
        "hidden_states": _wave(batch, 4, 8, 8),
        "timestep": torch.full((batch,), 7),
        "class_labels": torch.arange(batch),
        "return_dict": False,
    }


def _sd3(batch: int, side: int) -> dict[str, Any]:
    return {
        "hidden_states": _wave(batch, 4, side, side),
        "encoder_hidden_states": _wave(batch, 7, 24),
        "pooled_projections": _wave(batch, 16),
        "timestep": torch.full((batch,), 7),
        "return_dict": False,
    }


def _flux(batch: int, side: int) -> dict[str, Any]:
    return {
        "hidden_states": _wave(batch, side, 4),
        "encoder_hidden_states": _wave(batch, 7, 24),
        "pooled_projections": _wave(batch, 16),
        "timestep": torch.full((batch,), 0.5),
        "img_ids": _wave(side, 3),
        "txt_ids": torch.zeros(7, 3),
        "guidance": None,
        "return_dict": False,
    }


def _pixart(batch: int, length: int) -> dict[str, Any]:
    mask = torch.ones(batch, length + 3)
    mask[0, -2:] = 0
    return {
        "hidden_states": _wave(batch, 4, 8, 8),
        "encoder_hidden_states": _wave(batch, length + 3, 24),
        "encoder_attention_mask": mask,
        "timestep": torch.full((batch,), 7),
        "added_cond_kwargs": {"resolution": None, "aspect_ratio": None},
        "return_dict": False,
    }


def _vae(batch: int, side: int) -> dict[str, Any]:
    return {"sample": _wave(batch, 3, side, side), "return_dict": False}


CASES = (
    Case(
        "UNet2DCondition",
        _build(
            "UNet2DConditionModel",
            sample_size=8,
            block_out_channels=(16, 32),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=24,
            attention_head_dim=8,
            norm_num_groups=4,
        ),
        _conditioned,
        fused=8,
        sizes=_SIDES,
    ),
    Case(
        "DiT",
        _build(
            "DiTTransformer2DModel",
            num_attention_heads=4,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            sample_size=8,
            patch_size=2,
            num_embeds_ada_norm=10,
            norm_num_groups=4,
        ),
        _dit,
        sizes=_SIDES,
        implementations=SDPA,
    ),
    Case(
        "SD3",
        _build(
            "SD3Transformer2DModel",
            sample_size=16,
            patch_size=2,
            in_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=24,
            caption_projection_dim=32,
            pooled_projection_dim=16,
            out_channels=4,
            pos_embed_max_size=16,
        ),
        _sd3,
        sizes=_SIDES,
        implementations=SDPA,
    ),
    Case(
        "Flux",
        _build(
            "FluxTransformer2DModel",
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=24,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 4, 8),
        ),
        _flux,
        sizes=_SIDES,
        implementations=SDPA,
    ),
    Case(
        "AutoencoderKL",
        _build(
            "AutoencoderKL",
            block_out_channels=(16, 16),
            down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
            up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
            norm_num_groups=4,
            latent_channels=4,
        ),
        _vae,
        sizes=_SIDES,
    ),
    Case(
        "PixArt",
        _build(
            "PixArtTransformer2DModel",
            num_attention_heads=4,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            cross_attention_dim=32,
            sample_size=8,
            patch_size=2,
            norm_num_groups=4,
            caption_channels=24,
            use_additional_conditions=False,
        ),
        _pixart,
        fused=4,
        sizes=_SIDES,
        implementations=SDPA,
    ),
)
