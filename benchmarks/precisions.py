"""The element types that the benchmarks run in: a row for each, with what is expected of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Precision:
    """An element type of q, k, v and the result.

    largest_error  from float64 on normal inputs: a contestant beyond it is not worth timing
    wanted_lead    how many times as fast as the best peer a row should be
    wanted_mean    the same of the geometric mean over the rows; None: no such aim
    """

    name: str
    dtype: torch.dtype
    largest_error: float
    wanted_lead: float
    wanted_mean: float | None = None


F32 = Precision("f32", torch.float32, 1e-4, wanted_lead=1.3, wanted_mean=2.0)
BF16 = Precision("bf16", torch.bfloat16, 5e-2, wanted_lead=1.6, wanted_mean=2.5)
F16 = Precision("f16", torch.float16, 1e-2, wanted_lead=1.3)

PRECISIONS = {precision.name: precision for precision in (F32, BF16, F16)}
"""By the name that the command line takes. Results as large as 8 are rounded by 0.016 in bf16."""
