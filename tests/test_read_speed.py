"""The bound of cold rows: a loop that reads all of the memory."""

from __future__ import annotations

import pytest
import torch

from benchmarks.read_speed import reader


@pytest.mark.parametrize("heads", [1, 12])
def test_the_reader_reads_everything(heads: int) -> None:
    k, v = torch.randn(2, heads, 1024, 512).unbind()
    call = reader(k, v)
    for _ in range(3):
        torch.testing.assert_close(call().double().sum(), (k.double() + v).sum(), rtol=0, atol=0.1)
    k.fill_(1.0)
    v.fill_(2.0)
    assert float(call().sum()) == 3 * k.numel()
