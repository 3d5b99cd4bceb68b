"""A model built from its configuration with random weights, and what snipjit makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers

BOTH = ("eager", "sdpa")
EAGER = ("eager",)
SDPA = ("sdpa",)

Inputs = Callable[[int, int], dict[str, Any]]
"""Batch and length (of images: side) to the arguments of a call."""

SIZES = ((2, 7), (3, 19), (5, 12))


@dataclass(frozen=True)
class Refused:
    """What stays as it is: how many softmaxes, what their reason says, and what they are for."""

    count: int
    reason: str
    what: str


NONE = Refused(0, "", "")


@dataclass(frozen=True)
class Case:
    """One model.

    build            attention implementation ▸ module in eval mode
    fused            attentions that become kernels, in each implementation
    refused          softmaxes that do not
    implementations  the forms that the model has
    sizes            three sizes to run, the first one compiles
    """

    name: str
    build: Callable[[str], torch.nn.Module]
    inputs: Inputs
    fused: int = 2
    refused: Refused = NONE
    implementations: tuple[str, ...] = BOTH
    sizes: tuple[tuple[int, int], ...] = SIZES

    def model(self, implementation: str) -> torch.nn.Module:
        """The module with weights large enough that no attention is close to uniform."""
        torch.manual_seed(0)
        model = self.build(implementation).eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if parameter.dim() > 1:
                    parameter.copy_(noise * 1.5 * parameter[0].numel() ** -0.5)
                else:
                    parameter.add_(noise * 0.1)
        return model


def hugging(name: str, model: str = "Model", **config: Any) -> Callable[[str], torch.nn.Module]:
    """How transformers builds ``{name}{model}`` from ``{name}Config``."""

    def build(implementation: str) -> torch.nn.Module:
        settings = getattr(transformers, f"{name}Config")(
            attn_implementation=implementation, **config
        )
        made: torch.nn.Module = getattr(transformers, f"{name}{model}")(settings)
        return made

    return build


def ids(batch: int, length: int) -> torch.Tensor:
    """Token ids below 100, none of them a padding id of small value."""
    return torch.arange(batch * length).view(batch, length) % 90 + 5


def padding(batch: int, length: int, left: bool = False) -> torch.Tensor:
    """An attention mask that hides two positions of the first row, at its end or beginning."""
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, slice(0, 2) if left else slice(length - 2, length)] = 0
    return mask


def text(batch: int, length: int) -> dict[str, Any]:
    """For an encoder: ids with padding at the end."""
    return {"input_ids": ids(batch, length), "attention_mask": padding(batch, length)}


def prompt(batch: int, length: int) -> dict[str, Any]:
    """For a decoder: ids with padding at the beginning, no cache."""
    mask = padding(batch, length, left=True)
    return {"input_ids": ids(batch, length), "attention_mask": mask, "use_cache": False}


def pair(batch: int, length: int) -> dict[str, Any]:
    """For an encoder with a decoder of another length."""
    return {**text(batch, length), "decoder_input_ids": ids(batch, length + 4), "use_cache": False}


def image(batch: int, side: int) -> dict[str, Any]:
    """Pictures of three channels."""
    pixels = torch.linspace(-1, 1, batch * 3 * side * side).view(batch, 3, side, side)
    return {"pixel_values": torch.sin(pixels * 50)}


def fixed_image(batch: int, side: int) -> dict[str, Any]:
    """The same, only the batch is dynamic: windows of unknown sides cost Dynamo minutes."""
    pixels = image(batch, side)["pixel_values"]
    torch._dynamo.mark_static(pixels, [2, 3])
    return {"pixel_values": pixels}


def wave(batch: int, length: int) -> dict[str, Any]:
    """Sound, 40 samples a unit of length."""
    samples = torch.linspace(0, 500, batch * length * 40)
    return {"input_values": torch.sin(samples * samples * 0.01).view(batch, -1)}
