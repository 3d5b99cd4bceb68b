"""The bound of cold rows: a loop that reads all of the memory."""

from __future__ import annotations

import pytest
import torch

from benchmarks.precisions import PRECISIONS, Precision
from benchmarks.read_speed import misread, reader


@pytest.mark.parametrize("heads", [1, 12])
@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=lambda precision: precision.name)
def test_the_reader_reads_everything(heads: int, precision: Precision) -> None:
    k, v = torch.randn(2, heads, 1024, 512).to(precision.dtype).unbind()
    call = reader(k, v)
    for _ in range(3):
        assert not misread(call(), k, v)
    sums = call().clone()
    v[-1, -1, -1] *= 2
    assert misread(sums, k, v)
    assert not misread(call(), k, v)
    k.view(torch.int32).fill_(1)
    v.view(torch.int32).fill_(2)
    assert int(call().sum()) == 3 * k.nbytes // 4
