"""The guard pages themselves."""

from __future__ import annotations

import ctypes

import pytest
import torch

from snipjit.runtime.launcher import Launcher
from snipjit.runtime.scratchpad import Scratchpads
from tests.guard import Side, guarded, guarded_bytes, guarded_empty, guarded_scratch, survives
from tests.runtime.workers import scale_add_structure


@pytest.mark.parametrize("side", ["start", "end"])
def test_a_copy_keeps_values_and_strides(side: Side) -> None:
    source = torch.randn(3, 5, 7).transpose(0, 2)[:, 1:3].expand(7, 2, 3)
    copy = guarded(source, side)
    assert torch.equal(copy, source)
    assert copy.stride() == source.stride()
    assert torch.equal(guarded(torch.ones(1, 4).expand(3, 4)), torch.ones(3, 4))
    assert guarded(torch.empty(0, 4)).shape == (0, 4)
    assert guarded(torch.tensor([True, False]), side).tolist() == [True, False]


@pytest.mark.parametrize(("side", "outside"), [("end", 100), ("start", -1)])
def test_one_byte_outside_kills(side: Side, outside: int) -> None:
    inside = 99 if side == "end" else 0
    memory = guarded_bytes(100, side)
    address = memory.ctypes.data
    assert survives(lambda: ctypes.string_at(address + inside, 1))
    assert not survives(lambda: ctypes.string_at(address + outside, 1))
    assert not survives(lambda: ctypes.memset(address + outside, 0, 1))


@pytest.mark.parametrize("side", ["start", "end"])
def test_a_launcher_runs_between_guard_pages(side: Side) -> None:
    launcher = Launcher(
        scale_add_structure(), Scratchpads(guarded_scratch(side)), guarded_empty(side)
    )
    x, y = torch.randn(2, 9, 5), torch.randn(2, 9, 5)
    result = launcher(guarded(x, side), guarded(y, side), 0.5)
    torch.testing.assert_close(result, x * 0.5 + y)
