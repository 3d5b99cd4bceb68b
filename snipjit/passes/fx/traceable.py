"""Shape functions for operations of torch that it cannot trace without.

Neither Dynamo nor torch.export can trace fake quantization: torch has kernels for it, but none for
tensors without data. Importing this module adds those that are missing, so that a model with it
stays one graph; what the operations compute is not touched.
"""

from __future__ import annotations

import torch

_OPERATIONS = (
    "fake_quantize_per_tensor_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
)

# Registrations live as long as this object.
_LIBRARY = torch.library.Library("aten", "IMPL", "Meta")  # type: ignore[no-untyped-call]


def _value_and_mask(self: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty_like(self), torch.empty_like(self, dtype=torch.bool)


for _name in _OPERATIONS:
    if not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{_name}", "Meta"):
        _LIBRARY.impl(_name, _value_and_mask)  # type: ignore[no-untyped-call]
