"""Kernels of dequantized weights: every schedule, on every instruction set, at awkward sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import structures
from snipjit.compiler import lower
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Node, Subgraph, TensorType
from snipjit.passes.graph.prepare_weights import blocks_of
from snipjit.runtime.launcher import Launcher
from snipjit.target.target_machine import TargetMachine
from tests import kernels
from tests.kernels import ROWS, native_in_turn, small
from tests.narrow import torch_type
from tests.test_linear_in_16_bits import KINDS

INTEGERS = {"i8": torch.int8, "u8": torch.uint8}
SIZES = {0: ((31, 77), (64, 80), (1100, 50)), 32: ((96, 77), (64, 80), (1152, 50)), 40: ((80, 70),)}
"""Features and columns by the size of groups: no multiples of anything, or of all."""
CASES = [(group, sizes) for group, several in SIZES.items() for sizes in several]
WHOLE = (64, 80)


def _run(graph: Subgraph, target: TargetMachine, schedule: Schedule) -> Launcher:
    return kernels.launcher_of(lower(graph, target, schedule=schedule), target)


def _in(dtype: str, graph: Subgraph) -> Subgraph:
    """The same with x of another type."""

    def node_of(node: Node) -> Node:
        type = TensorType(dtype, node.type.dims)
        return replace(node, type=type) if node.name == "x" else node

    return graph.with_nodes(map(node_of, graph.nodes))


def _weight(integers: str, sizes: tuple[int, int]) -> tuple[Tensor, ...]:
    """w, and z and s of each element of it."""
    low, (summed, columns) = 0 if integers == "u8" else -128, sizes
    w = torch.randint(low, low + 256, (columns, summed), dtype=INTEGERS[integers])
    z = torch.randint(low + 90, low + 160, (columns, summed), dtype=INTEGERS[integers])
    return w, z, (torch.rand(columns, summed) + 0.5) / 256


@pytest.mark.parametrize(("kind", "row"), native_in_turn([*KINDS], ROWS))
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize(("group", "sizes"), CASES, ids=str)
def test_every_row(kind: str, row: str, dtype: str, group: int, sizes: tuple[int, int]) -> None:
    (schedule, lies), target = KINDS[kind], ROWS[row] if sizes == WHOLE else small(ROWS[row])
    torch.manual_seed(0)
    integers, zero = ("i8", False) if dtype == "f32" and not group else ("u8", True)
    block = target.lanes if lies == "blocks" else 0
    graph = structures.dequantized(
        *sizes, integers, zero=zero, group=group, block=block, across=lies == "kn"
    )
    run = _run(_in(dtype, graph), target, schedule)
    w, z, s = _weight(integers, sizes)
    z, s = (of[:, :: group or sizes[0]] for of in (z, s))
    wide = [of.double().repeat_interleave(group or sizes[0], 1) for of in (z, s)]
    exact = (w.double() - (wide[0] if zero else 0)) * wide[1]
    z, s = (of if group else of[:, 0] for of in (z, s))
    weight = w.mT.contiguous() if lies == "kn" else w
    if block:
        writer = blocks_of(target, integers, swapped=False)
        weight = torch.as_tensor(_run(writer, target, schedule)(w))
        assert weight.dtype == w.dtype
    b = torch.randn(sizes[1])
    for rows in (1, 3, 13, 31):
        x = torch.randn(rows, sizes[0]).to(torch_type(dtype) if dtype != "f32" else torch.float32)
        want = (x.double() @ exact.mT + b.double()).numpy()
        have = kernels.array(torch.as_tensor(run(x, weight, *([z] if zero else []), s, b)))
        slack = 2e-6 * sizes[0] ** 0.5 * np.abs(want).max()
        np.testing.assert_allclose(have, want, rtol=2e-6, atol=slack)
