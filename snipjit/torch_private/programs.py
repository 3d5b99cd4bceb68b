"""Exported programs: their guards, graphs and nested arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

pytree: Any = torch.utils._pytree
"""Nested arguments and results, taken apart as torch.export does it."""


def guards_code(exported: ExportedProgram) -> list[str]:
    """Conditions on the inputs' sizes, as Python text; none where torch does not keep them."""
    return list(getattr(exported, "_guards_code", ()))


def guard_functions() -> Mapping[str, Any]:
    """The functions that conditions call; a condition that calls another one is not checked."""
    try:
        from torch.fx.experimental.symbolic_shapes import SYMPY_INTERP
    except ImportError:
        return {}
    return SYMPY_INTERP


def with_graph(exported: ExportedProgram, gm: fx.GraphModule) -> ExportedProgram:
    """A program with another graph of the same inputs and outputs, and the same weights."""
    return exported._update(gm, exported.graph_signature)
