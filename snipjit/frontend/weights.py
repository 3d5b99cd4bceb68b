"""Weights in the order of kernels: what a program keeps of them, and what is to be written anew."""

from __future__ import annotations

import torch

from snipjit.frontend.program import Program
from snipjit.runtime import prepared_weights


def refresh(model: torch.nn.Module | Program | None = None) -> None:
    """Have the prepared weights of a model written anew at its next call; of all, if None.

    Needed where a weight was written to in a way that PyTorch does not count: through ``.data``, or
    if it is an inference tensor. It costs nothing where nothing was prepared.
    """
    if model is None:
        prepared_weights.refresh()
    elif isinstance(model, Program):
        prepared_weights.refresh(x for x in model.state if isinstance(x, torch.Tensor))
    else:
        prepared_weights.refresh([*model.parameters(), *model.buffers()])
