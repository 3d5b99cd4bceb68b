"""Kernels of linear layers touch nothing but their tensors, also where weights lie in blocks."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from benchmarks import structures
from snipjit.compiler import lower
from snipjit.ir.schedule import Schedule
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.scratchpad import Scratchpads
from snipjit.runtime.structure import Structure
from tests import kernels
from tests.guard import Side, guarded, guarded_empty, guarded_scratch, survives
from tests.kernels import ROWS, SMALL

SIZES = [(31, 77), pytest.param((48, 80), marks=pytest.mark.long), (1100, 50)]
"""Features and columns: no multiples of anything, or of all."""
NATIVE = [name for name, row in SMALL.items() if kernels.is_native(ROWS[name])]
KINDS = [
    *((schedule, "nk") for schedule in (Schedule.ROWS, Schedule.COLUMNS, Schedule.OUTPUTS)),
    *((schedule, "kn") for schedule in (Schedule.STEPS, Schedule.BLOCKS, Schedule.OUTPUTS)),
    (Schedule.OUTPUTS, "blocks"),
]
"""Schedules, and how the weight lies."""


@cache
def _compiled(row: str, schedule: Schedule, layout: str, sizes: tuple[int, int]) -> Structure:
    block = SMALL[row].lanes if layout == "blocks" else 0
    graph = structures.linear(*sizes, block=block, across=layout == "kn")
    lir = lower(graph, SMALL[row], schedule=schedule)
    return kernels.launcher_of(lir, SMALL[row]).structure


@cache
def _prepare(row: str) -> Launcher:
    """What writes blocks."""
    subgraph, target = structures.prepare(SMALL[row].lanes), SMALL[row]
    return kernels.launcher_of(lower(subgraph, target, schedule=Schedule.OUTPUTS), target)


def _run(kernel: Structure, given: list[torch.Tensor], want: torch.Tensor, side: Side) -> None:
    """A call between guard pages; the result must be right too."""
    torch.set_num_threads(1)  # a forked child has none of the parent's threads
    run = Launcher(kernel, Scratchpads(guarded_scratch(side)), guarded_empty(side))
    have = torch.as_tensor(run(*(guarded(tensor, side) for tensor in given)))
    np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["end", pytest.param("start", marks=pytest.mark.long)])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("schedule", "layout"), KINDS, ids=str)
@pytest.mark.parametrize("row", NATIVE)
def test_between_guards(
    row: str, schedule: Schedule, layout: str, sizes: tuple[int, int], side: Side
) -> None:
    kernel, (features, columns) = _compiled(row, schedule, layout, sizes), sizes
    w, b = torch.randn(columns, features), torch.randn(columns)
    weight = w.mT.contiguous() if layout == "kn" else w
    if layout == "blocks":
        weight = torch.as_tensor(_prepare(row)(w))
    for rows in (1, 3, 13, 31):
        x = torch.randn(rows, features)
        want = torch.nn.functional.gelu(torch.nn.functional.linear(x, w, b))
        assert survives(lambda: _run(kernel, [x, weight, b], want, side))
