"""The memory of tensors: which it is, and how often it was written to."""

from __future__ import annotations

from typing import Any

import torch
from torch.multiprocessing import reductions

UNCOUNTED = -1
"""The version of tensors that have none: those made in inference mode."""


class StorageReference:
    """A weak reference to the storage of a tensor: no other gets its ``identity`` meanwhile."""

    def __init__(self, tensor: torch.Tensor) -> None:
        weak: Any = reductions.StorageWeakRef  # torch gives it no types
        self._reference = weak(tensor.untyped_storage())

    @property
    def identity(self) -> int:
        """The same for all tensors of the storage."""
        return int(self._reference.cdata)

    @property
    def is_gone(self) -> bool:
        """Whether the memory is no one's any more."""
        return bool(self._reference.expired())


def version(tensor: torch.Tensor) -> int:
    """How often a tensor was written to, as far as PyTorch counts it."""
    return UNCOUNTED if tensor.is_inference() else tensor._version
