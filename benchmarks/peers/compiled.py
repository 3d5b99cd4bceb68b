"""Inductor: ``torch.compile`` of the row's source."""

from __future__ import annotations

import torch

from benchmarks.peers.base import Inputs, own_code
from benchmarks.rows import Row
from benchmarks.sources import Form


def build(row: Row, inputs: Inputs) -> Form:
    """The compiled source, after its first call."""
    compiled: Form = torch.compile(own_code(row.model.form), dynamic=True)
    compiled(*inputs)
    return compiled
