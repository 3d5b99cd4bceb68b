"""emit_retry: a kernel runs a body again if the body says so, and lanes beyond the end are mute."""

from __future__ import annotations

import pytest
import torch

from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from tests.kernels import TARGETS, launcher_of
from tests.retries import CALLS, RETRY


@pytest.mark.parametrize(("elements", "bound", "sign"), CALLS)
def test_a_kernel_with_a_retry(elements: list[float], bound: float, sign: int) -> None:
    lir = parse_linear(RETRY)
    verify(lir, final=True)
    run = launcher_of(lir, TARGETS["portable"])
    x = torch.tensor(elements)
    torch.testing.assert_close(run(x, bound), sign * x)
