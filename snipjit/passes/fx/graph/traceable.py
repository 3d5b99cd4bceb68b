"""Shape functions for operations of torch that it cannot trace without.

Neither Dynamo nor torch.export can trace fake quantization: torch has kernels for it, but none for
tensors without data. ``make_traceable`` adds those that are missing, so that a model with it stays
one graph; what the operations compute is not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from snipjit.torch_private import has_meta_kernel

_OPERATIONS = (
    "fake_quantize_per_tensor_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
)


def _value_and_mask(self: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty_like(self), torch.empty_like(self, dtype=torch.bool)


def _like_source(src: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
    return torch.empty_like(src)


_MISSING: dict[str, Callable[..., object]] = dict.fromkeys(_OPERATIONS, _value_and_mask)
# Of torch below 2.13 only.
_MISSING["_transformer_encoder_layer_fwd"] = _like_source


@cache
def make_traceable() -> torch.library.Library:
    """Register what is missing, once; registrations live as long as the library returned."""
    home: Any = torch.library  # which has no types
    library: torch.library.Library = home.Library("aten", "IMPL", "Meta")
    register: Any = library.impl
    for name, shapes in _MISSING.items():
        if not has_meta_kernel(name):
            register(name, shapes)
    return library
