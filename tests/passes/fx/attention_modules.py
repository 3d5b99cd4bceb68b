"""The attention modules of PyTorch in every calling form, with their arguments for given sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Masks = dict[str, Callable[[int, int, int], Tensor]]
"""Masks by argument, as functions of batch, rows and columns."""


def random(*shape: int) -> Tensor:
    """Seeded by the shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def padding(batch: int, length: int) -> Tensor:
    """True for padding: the last two of the first sequence."""
    mask = torch.zeros(batch, length, dtype=torch.bool)
    mask[0, length - 2 :] = True
    return mask


def hidden(rows: int, columns: int) -> Tensor:
    """True for what is not seen: another pattern in each row, and something to see in all."""
    return (torch.arange(rows)[:, None] + torch.arange(columns)) % 3 == 1


def causal(length: int) -> Tensor:
    """Zeros and -inf."""
    return nn.Transformer.generate_square_subsequent_mask(length)


@dataclass(frozen=True)
class Inputs:
    """Makes arguments: ``count`` different tensors, and masks.

    ``widths`` are the sizes of query, key and value; equal widths of memory share one tensor.
    """

    count: int = 1
    first: bool = True
    batched: bool = True
    widths: tuple[int, ...] = (16, 16, 16)
    masks: Masks = field(default_factory=dict)

    def __call__(
        self, batch: int, rows: int, columns: int
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Tensors and masks for these sizes; self-attention has as many columns as rows."""
        columns = rows if self.count == 1 else columns
        query = random(*self._shape(batch, rows, self.widths[0]))
        made = [query] * len(self.widths)
        if self.count > 1:
            shapes = [self._shape(batch, columns, width) for width in self.widths[1:]]
            memory = {shape: random(*shape) for shape in shapes}
            made = [query, *(memory[shape] for shape in shapes)]
        return tuple(made), {name: mask(batch, rows, columns) for name, mask in self.masks.items()}

    def _shape(self, batch: int, length: int, width: int) -> tuple[int, ...]:
        if not self.batched:
            return (length, width)
        return (batch, length, width) if self.first else (length, batch, width)


@dataclass(frozen=True)
class Form:
    """A module, its arguments, and how many attentions it has."""

    name: str
    module: Callable[[], nn.Module]
    inputs: Inputs
    options: dict[str, Any] = field(default_factory=dict)
    fused: int = 1
    training: bool = False
    fast: bool = True

    def build(self) -> nn.Module:
        """The module with seeded weights."""
        torch.manual_seed(0)
        module = self.module().train(self.training)
        for parameter in module.parameters():
            if parameter.dim() == 1:
                nn.init.normal_(parameter)
        return module


@contextmanager
def fast_path(enabled: bool) -> Iterator[None]:
    """With the fast path of PyTorch's modules switched on or off."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(enabled)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def attention(**options: Any) -> Callable[[], nn.Module]:
    """Makes an ``nn.MultiheadAttention`` of 4 heads of 4."""
    return lambda: nn.MultiheadAttention(16, 4, **options)


def layer(**options: Any) -> nn.Module:
    """An encoder layer, batch first."""
    return nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, **options)


def encoder(**options: Any) -> nn.Module:
    """Two encoder layers."""
    return nn.TransformerEncoder(layer(**options), 2, enable_nested_tensor=False)  # type: ignore[arg-type]


def decoder(**options: Any) -> nn.Module:
    """A decoder layer, batch first."""
    return nn.TransformerDecoderLayer(16, 4, 32, batch_first=True, **options)


PADDED: Masks = {"key_padding_mask": lambda batch, _, columns: padding(batch, columns)}
ONE_PADDED: Masks = {"key_padding_mask": lambda _, __, columns: padding(1, columns)[0]}
MASKED: Masks = {"attn_mask": lambda _, rows, columns: hidden(rows, columns)}
ADDED: Masks = {"attn_mask": lambda _, rows, columns: random(rows, columns)}
BY_HEAD: Masks = {"attn_mask": lambda batch, rows, columns: random(4 * batch, rows, columns)}
CAUSAL: Masks = {"attn_mask": lambda _, rows, __: causal(rows)}
SOURCE_PADDED: Masks = {"src_key_padding_mask": PADDED["key_padding_mask"]}
SOURCE_MASKED: Masks = {"src_mask": MASKED["attn_mask"]}
SOURCE_ADDED: Masks = {"src_mask": lambda _, rows, columns: random(rows, columns).triu(1)}
TARGET_CAUSAL: Masks = {"tgt_mask": lambda _, rows, __: causal(rows)}
MEMORY_PADDED: Masks = {
    "memory_key_padding_mask": lambda batch, _, columns: torch.zeros(batch, columns).masked_fill(
        padding(batch, columns), -torch.inf
    )
}
BOTH_PADDED: Masks = {
    "src_key_padding_mask": lambda batch, rows, _: padding(batch, rows),
    "memory_key_padding_mask": lambda batch, rows, _: padding(batch, rows),
}

_FIRST = attention(batch_first=True)
_LEARNT = attention(kdim=12, vdim=8, add_bias_kv=True, add_zero_attn=True)
_OTHER = (16, 12, 8)
_PLAIN = {"need_weights": False}
_HINT = {"is_causal": True}
_EACH = {"average_attn_weights": False}
_TARGET_HINT = {"tgt_is_causal": True}


def _cross(**masks: Any) -> Inputs:
    return Inputs(2, first=False, masks=masks)


ATTENTIONS = (
    Form("self", _FIRST, Inputs(), _PLAIN),
    Form("padded", _FIRST, Inputs(masks=PADDED), _PLAIN),
    Form("masked", _FIRST, Inputs(masks=MASKED), _PLAIN),
    Form("masked_and_padded", _FIRST, Inputs(masks={**PADDED, **MASKED}), _PLAIN),
    Form("added_by_head", _FIRST, Inputs(masks=BY_HEAD), _PLAIN),
    Form("causal", _FIRST, Inputs(masks=CAUSAL), {**_PLAIN, **_HINT}),
    Form("cross", attention(bias=False), _cross(**MASKED), _PLAIN),
    Form("other_sizes", _LEARNT, Inputs(3, False, True, _OTHER, PADDED), _PLAIN),
    Form("unbatched", attention(), Inputs(2, batched=False, masks=ONE_PADDED), _PLAIN),
    Form("weights", _FIRST, Inputs(masks=PADDED)),
    Form("weights_of_heads", attention(), _cross(**MASKED), _EACH),
    Form("weights_added", _FIRST, Inputs(masks=ADDED)),
    Form("weights_causal", _FIRST, Inputs(masks=CAUSAL), _HINT),
    Form("weights_of_other_sizes", _LEARNT, Inputs(3, False, True, _OTHER, {**PADDED, **MASKED})),
    Form("weights_unbatched", attention(), Inputs(2, batched=False, masks=MASKED)),
    Form("weights_training", attention(), _cross(), training=True),
)

LAYERS = (
    Form("layer", layer, Inputs(widths=(16,))),
    Form(
        "layer_padded",
        lambda: layer(norm_first=True, activation="gelu"),
        Inputs(widths=(16,), masks=SOURCE_PADDED),
    ),
    Form(
        "layer_masked_and_padded",
        lambda: layer(norm_first=True),
        Inputs(widths=(16,), masks={**SOURCE_PADDED, **SOURCE_MASKED}),
    ),
    Form("layer_added", layer, Inputs(widths=(16,), masks=SOURCE_ADDED)),
    Form("layer_slow", layer, Inputs(widths=(16,), masks=SOURCE_PADDED), fast=False),
    Form("encoder", encoder, Inputs(widths=(16,), masks=SOURCE_PADDED), fused=2),
    Form(
        "encoder_training",
        lambda: encoder(dropout=0.0),
        Inputs(widths=(16,), masks=SOURCE_PADDED),
        fused=2,
        training=True,
    ),
    Form(
        "decoder",
        lambda: decoder(norm_first=True),
        Inputs(2, widths=(16, 16), masks={**TARGET_CAUSAL, **MEMORY_PADDED}),
        _TARGET_HINT,
        fused=2,
    ),
    Form(
        "transformer",
        lambda: nn.Transformer(16, 4, 1, 1, 32),
        Inputs(2, first=False, widths=(16, 16), masks=BOTH_PADDED),
        fused=3,
    ),
)
