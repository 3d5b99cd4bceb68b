"""Pixels as rows and keys: biases of a row or a column of an image alone, added to the scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import snipjit
from snipjit.compiler import assemble, lower
from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.schedule import OF_PRODUCTS, Schedule
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.runtime.engine import host_features
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.scratchpad import Scratchpads
from snipjit.runtime.structure import Structure
from snipjit.target.target_machine import TargetMachine, rows_for
from tests.canonical_graphs import GRAPHS
from tests.guard import Side, guarded, guarded_empty, guarded_scratch, survives
from tests.kernels import interface_from

SIZES = [(3, 5), (7, 7), (13, 2), (14, 14), (1, 17), (1, 1)]


class Attention(nn.Module):
    """Attention over images [B, H, W, C] with decomposed relative positions, as SAM writes it."""

    def __init__(self, heads: int = 3, size: int = 16, longest: int = 20) -> None:
        super().__init__()
        self.heads, self.longest = heads, longest
        self.qkv = nn.Linear(8, 3 * heads * size)
        self.rows = nn.Parameter(torch.randn(2 * longest - 1, size) * 0.3)
        self.columns = nn.Parameter(torch.randn(2 * longest - 1, size) * 0.3)

    def positions(self, table: Tensor, size: int) -> Tensor:
        index = torch.arange(size)
        found: Tensor = table[index[:, None] - index[None, :] + self.longest - 1]
        return found

    def forward(self, x: Tensor) -> Tensor:
        """The heads' results [B, H, W, heads · size]."""
        b, h, w, _ = x.shape
        qkv = self.qkv(x).reshape(b, h * w, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.reshape(3, b * self.heads, h * w, -1).unbind(0)
        scores = (q * 0.25) @ k.transpose(-2, -1)
        image = q.reshape(b * self.heads, h, w, -1)
        rows = torch.einsum("bhwc,hkc->bhwk", image, self.positions(self.rows, h))
        columns = torch.einsum("bhwc,wkc->bhwk", image, self.positions(self.columns, w))
        scores = scores.view(b * self.heads, h, w, h, w)
        scores = scores + rows[:, :, :, :, None] + columns[:, :, :, None, :]
        weights = scores.view(b * self.heads, h * w, h * w).softmax(dim=-1)
        heads = (weights @ v).view(b, self.heads, h, w, -1)
        result: Tensor = heads.permute(0, 2, 3, 1, 4).reshape(b, h, w, -1)
        return result


def module() -> Attention:
    torch.manual_seed(0)
    return Attention().eval()


def assert_right(run: Callable[..., Tensor], sizes: list[tuple[int, int]]) -> None:
    """The same as eager in double precision, at all sizes."""
    wide = module().double()
    for size in sizes:
        x = torch.randn(2, *size, 8)
        torch.testing.assert_close(run(x).double(), wide(x.double()), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True, None])
@torch.no_grad()
def test_images_of_many_sizes(dynamic: bool | None) -> None:
    torch._dynamo.reset()
    snipjit.reset_stats()
    assert_right(torch.compile(module(), backend="snipjit", dynamic=dynamic), SIZES)
    stats = snipjit.stats()
    assert not stats.refusals
    assert stats.kernel_calls >= len(SIZES) - 1, "all but the image of one pixel"


@torch.no_grad()
def test_a_program_for_all_sizes() -> None:
    sizes = {0: Dim("b", max=64), 1: Dim("h", min=2, max=20), 2: Dim("w", min=2, max=20)}
    exported = torch.export.export(module(), (torch.zeros(2, 3, 5, 8),), dynamic_shapes=(sizes,))
    snipjit.reset_stats()
    program = snipjit.compile(exported)
    assert snipjit.stats().subgraphs == 1
    assert_right(program, SIZES[:2])
    compiled = snipjit.stats().kernels_compiled
    assert_right(program, SIZES[:4])
    assert snipjit.stats().kernels_compiled == compiled


def added(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The pixels that ask are others than those that answer, as where they are pooled."""
    b, qh, qw, h, w = *rows.shape, columns.shape[-1]
    scores = (q @ k.mT).view(b, qh, qw, h, w) + rows[..., None] + columns[..., None, :]
    return scores.view(b, qh * qw, h * w).softmax(-1) @ v


def pixels(queries: tuple[int, int], keys: tuple[int, int]) -> list[Tensor]:
    (qh, qw), (h, w) = queries, keys
    q, k, v = (torch.randn(3, n, 16) for n in (qh * qw, h * w, h * w))
    return [q * 0.25, k, v, torch.randn(3, qh, qw, h), torch.randn(3, qh, qw, w)]


def run_compiled(function: Callable[..., Tensor], inputs: list[Tensor]) -> Tensor:
    torch._dynamo.reset()
    snipjit.reset_stats()
    result: Tensor = torch.compile(function, backend="snipjit", dynamic=False)(*inputs)
    assert snipjit.stats().kernel_calls == 1, snipjit.stats().refusals
    return result


@pytest.mark.parametrize("queries", [(2, 2), (3, 9), (14, 7)])
@pytest.mark.parametrize("keys", [(5, 7), (33, 2), (2, 33), (20, 20)])
def test_few_and_many_rows(queries: tuple[int, int], keys: tuple[int, int]) -> None:
    inputs = pixels(queries, keys)
    expected = added(*(x.double() for x in inputs))
    result = run_compiled(added, inputs)
    torch.testing.assert_close(result.double(), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (3, 1, 2, 0), (3, 2, 1, 0)])
def test_biases_of_any_strides(order: tuple[int, ...]) -> None:
    inputs = pixels((6, 7), (5, 9))
    for i in (3, 4):
        inputs[i] = inputs[i].permute(order).contiguous().permute([*np.argsort(order)])
    expected = added(*(x.double() for x in inputs))
    result = run_compiled(added, inputs)
    torch.testing.assert_close(result.double(), expected, atol=2e-6, rtol=1e-5)


def test_biases_that_repeat() -> None:
    inputs = pixels((6, 7), (5, 9))
    inputs[3], inputs[4] = (
        inputs[3][:1, :1].expand(3, 6, 7, 5),
        inputs[4][:, :, :1].expand_as(inputs[4]),
    )
    expected = added(*(x.double() for x in inputs))
    result = run_compiled(added, inputs)
    torch.testing.assert_close(result.double(), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_16_bits(dtype: torch.dtype) -> None:
    inputs = [x.to(dtype) for x in pixels((6, 7), (5, 9))]
    expected = added(*(x.double() for x in inputs))
    result = run_compiled(added, inputs)
    torch.testing.assert_close(result.double(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("schedule", OF_PRODUCTS)
@pytest.mark.parametrize("side", ["end", "start"])
@pytest.mark.parametrize("target", rows_for(host_features()), ids=lambda target: target.name)
def test_nothing_outside_is_read(schedule: Schedule, side: Side, target: TargetMachine) -> None:
    subgraph = parse_subgraph(GRAPHS["keys of two axes"])
    lir = lower(subgraph, target, schedule=schedule)
    kernel = Structure.single(interface_from(lir), assemble("keys", lir, target)())
    torch.set_num_threads(1)

    def run() -> None:
        launcher = Launcher(kernel, Scratchpads(guarded_scratch(side)), guarded_empty(side))
        for m, n in (((1, 1), (1, 1)), ((5, 7), (3, 11)), ((2, 9), (13, 5)), ((1, 3), (1, 17))):
            shapes = [(2, m[0] * m[1], 5), (2, n[0] * n[1], 5), (2, *n, 5), (2, *m, n[0])]
            tensors = [torch.randn(shape) for shape in [*shapes, (n[1], 2, m[0] * m[1])]]
            result: Any = launcher(*(guarded(tensor, side) for tensor in tensors))
            (expected,) = interpret(subgraph, [tensor.numpy() for tensor in tensors])
            np.testing.assert_allclose(result.numpy(), expected, rtol=1e-4, atol=1e-5)

    assert survives(run)
