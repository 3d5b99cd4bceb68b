"""Models of pictures: ViT-B/16, a block of Stable Diffusion 3, attention of SD 1.5's UNet."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from benchmarks.models.case import Family, Inputs, fixed, noise
from benchmarks.models.text import to_sdpa

SD3_WIDTH, SD3_HEADS, PATCHES, WORDS = 1536, 24, 4096, 154
CHANNELS, HEADS, SIDE, CONTEXT = 320, 8, 64, 768


class ViT(nn.Module):
    """Pictures [B, 3, 224, 224] to hidden states."""

    def __init__(self) -> None:
        from transformers import ViTConfig, ViTModel

        super().__init__()
        config = ViTConfig(attn_implementation="eager")
        self.vit: Any = ViTModel(config, add_pooling_layer=False)

    def forward(self, pixel_values: Tensor) -> Any:
        """Hidden states of the last layer."""
        return self.vit(pixel_values=pixel_values).last_hidden_state


class SD3Block(nn.Module):
    """One block: patches and words are changed together."""

    def __init__(self) -> None:
        from diffusers.models.attention import JointTransformerBlock

        super().__init__()
        self.block: Any = JointTransformerBlock(SD3_WIDTH, SD3_HEADS, SD3_WIDTH // SD3_HEADS)

    def forward(self, patches: Tensor, words: Tensor, time: Tensor) -> Any:
        """New patches [B, S, width] and words."""
        words, patches = self.block(patches, words, time)
        return patches, words


class UNetAttention(nn.Module):
    """The attention block of a UNet's highest resolution, between its two convolutions."""

    def __init__(self) -> None:
        from diffusers import Transformer2DModel
        from diffusers.models.attention_processor import AttnProcessor

        super().__init__()
        self.block: Any = Transformer2DModel(
            HEADS, CHANNELS // HEADS, CHANNELS, cross_attention_dim=CONTEXT
        )
        _set_processors(self, AttnProcessor)

    def forward(self, image: Tensor, words: Tensor) -> Any:
        """[B, channels, side, side] to the same."""
        return self.block(image, words, return_dict=False)[0]


def _set_processors(module: nn.Module, processor: type) -> None:
    from diffusers.models.attention_processor import Attention

    for part in module.modules():
        if isinstance(part, Attention):
            part.set_processor(processor())


def _to_sdpa(module: nn.Module) -> None:
    from diffusers.models.attention_processor import AttnProcessor2_0

    _set_processors(module, AttnProcessor2_0)


def _pictures(count: int) -> Inputs:
    return (fixed(noise(count, 3, 224, 224), 1, 2, 3),)


def _sd3() -> Inputs:
    patches, words = noise(1, PATCHES, SD3_WIDTH), noise(1, WORDS, SD3_WIDTH)
    return fixed(patches, 2), fixed(words, 2), fixed(noise(1, SD3_WIDTH), 1)


def _unet() -> Inputs:
    return fixed(noise(2, CHANNELS, SIDE, SIDE), 1), fixed(noise(2, 77, CONTEXT), 2)


FAMILIES = (
    Family("vit", ViT, {"vit-1": lambda: _pictures(1), "vit-8": lambda: _pictures(8)}, to_sdpa),
    Family("sd3", SD3Block, {"sd3": _sd3}),
    Family("unet", UNetAttention, {"unet": _unet}, _to_sdpa),
)
