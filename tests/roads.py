"""The roads on which forms are tested: compiled with dynamic and static shapes, and exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snipjit

LONG = pytest.mark.long
ROADS = ["dynamic", pytest.param("static", marks=LONG), pytest.param("program", marks=LONG)]


def compile_on(
    model: nn.Module,
    road: str,
    given: tuple[Tensor, ...],
    options: Mapping[str, Any],
    dynamic_shapes: Any = None,
) -> Callable[..., Any]:
    """A model on a road, ``given`` its first inputs, ``dynamic_shapes`` those of its export."""
    if road == "program":
        return snipjit.compile(model, given, dynamic_shapes=dynamic_shapes, options=options)
    return torch.compile(model, backend="snipjit", dynamic=road == "dynamic", options=dict(options))
