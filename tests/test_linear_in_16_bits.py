"""Linear layers of bf16 and f16, and under autocast: one rounding away from float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snipjit
from benchmarks import structures
from snipjit.compiler import lower
from snipjit.errors import SlowerError
from snipjit.ir.schedule import Schedule
from snipjit.passes import linear
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.prepared_weights import prepared_bytes
from snipjit.target.candidates import NATIVE
from tests import kernels
from tests.kernels import ROUNDING, ROWS, native_in_turn, small
from tests.linear_forms import CHAINS, FORMS, Form
from tests.narrow import HALVES, torch_type

OPTIONS: dict[str, Any] = {"fuse": ("linear", "convolution")}
QUICK = (*CHAINS, "linear", "matmul", "addmm", "einsum", "gate", "bmm", "mlp of experts")
DTYPES = {dtype: torch_type(dtype) for dtype in HALVES}
SIZES = ((31, 77), (64, 80), (1100, 50))
"""Features and columns: no multiples of anything, or of all; blocks of a sum."""
WHOLE = SIZES[1]
"""What is compiled with the tiles that users get."""
KINDS = {
    **{f"{one.value} nk": (one, "nk") for one in (Schedule.ROWS, Schedule.COLUMNS)},
    **{f"{one.value} kn": (one, "kn") for one in (Schedule.STEPS, Schedule.BLOCKS)},
    **{f"outputs {lies}": (Schedule.OUTPUTS, lies) for lies in ("nk", "kn", "blocks")},
}
"""Schedules, and how the weight lies."""


@pytest.fixture(autouse=True)
def _fresh(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer is compiled, also those that users have PyTorch multiply."""
    monkeypatch.setattr(linear, "refuse_across", lambda *_: None)
    monkeypatch.setattr(linear, "refuse_native", lambda *_: None)
    snipjit.refresh()


def _cases() -> list[Any]:
    return [
        pytest.param(name, dtype, marks=[] if name in QUICK and here else pytest.mark.long)
        for number, name in enumerate(FORMS)
        for turn, dtype in enumerate(HALVES)
        for here in [(number + turn) % 2 == 0]
    ]


def _listed(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _assert_near(have: Any, exact: Any, eager: Any, dtype: torch.dtype) -> None:
    """Results of the model's types, no further from the exact ones than a rounding, or eager's."""
    for one, want, other in zip(*map(_listed, (have, exact, eager)), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        rounding = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}[dtype]
        errors = (other.double() - want).abs().flatten().tolist()
        slack = max(*errors, rounding / 8, 0.0)
        torch.testing.assert_close(one.double(), want, rtol=rounding * 1.01, atol=slack)


def _compiled(model: Callable[..., Any], **options: Any) -> Callable[[Tensor], Any]:
    chosen = {**OPTIONS, **options}
    return torch.compile(model, backend="snipjit", dynamic=True, options=chosen)


def _check(form: Form, dtype: torch.dtype, kernels: int, **options: Any) -> nn.Module:
    """A form that was run, compared and counted; what was prepared lives as long as it does."""
    model = form.model().to(dtype)
    exact, compiled = copy.deepcopy(model).double(), _compiled(model, **options)
    lengths = (9, 1, 31)
    with torch.no_grad():
        for length in lengths:
            x = form.input(length, seed=length).to(dtype)
            _assert_near(compiled(x), exact(x.double()), model(x), dtype)
    stats = snipjit.stats()
    assert not stats.refusals
    assert stats.subgraphs % kernels == 0
    return model


@pytest.mark.parametrize(("name", "dtype"), _cases())
def test_forms(name: str, dtype: str) -> None:
    form = FORMS[name]
    _check(form, DTYPES[dtype], form.kernels)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("columns", [131, 64])
def test_prepared_weights_stay_narrow(dtype: str, columns: int) -> None:
    form = Form(lambda m, x: F.gelu(m.a(x)), lambda: {"a": nn.Linear(24, columns)})
    model = _check(form, DTYPES[dtype], 1, weights="prepared")
    most = columns + max(row.lanes for row in ROWS.values())
    assert 0 < prepared_bytes() <= 2 * 24 * most
    del model


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.0, 1e-40, 3e-6])
def test_special_numbers(value: float, dtype: str) -> None:
    form = FORMS["linear"]
    model: Any = form.model().to(DTYPES[dtype])
    x = form.input(5).to(DTYPES[dtype])
    model.a.weight.data[3, 2] = x[0, 2, 3] = value
    with torch.no_grad():
        have, want = _compiled(model)(x), model(x)
    torch.testing.assert_close(have, want, equal_nan=True, rtol=2**-7, atol=2**-9)


class Mixed(nn.Module):
    """An MLP of autocast, whose norm is of float32."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Linear(24, 70), nn.Linear(70, 24), nn.LayerNorm(24)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(x + self.b(F.gelu(self.a(x))))
        return result


@pytest.mark.parametrize("weights", ["in_place", "prepared"])
@pytest.mark.parametrize("dtype", HALVES)
def test_autocast(dtype: str, weights: str) -> None:
    """Products round their float32 operands in eager; the kernel reads them as they are."""
    torch.manual_seed(0)
    model, x = Mixed().eval(), torch.randn(2, 9, 24)

    def run(x: Tensor) -> Any:
        with torch.autocast("cpu", DTYPES[dtype]):
            return model(x)

    with torch.no_grad():
        exact = copy.deepcopy(model).double()(x.double())
        _assert_near(_compiled(run, weights=weights)(x), exact, run(x), DTYPES[dtype])
    assert snipjit.stats().patterns == {"linear": 2}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("weights", ["in_place", "prepared"])
def test_casts_around(dtype: str, weights: str) -> None:
    """An input of float32 that is rounded for its layer; a norm of float32 behind."""
    half, torch_dtype = Mixed().eval(), DTYPES[dtype]
    half.a.to(torch_dtype), half.b.to(torch_dtype)

    def run(x: Tensor) -> Any:
        return half.norm(x + half.b(F.gelu(half.a(x.to(torch_dtype)))).float())

    x = torch.randn(2, 9, 24)
    with torch.no_grad():
        exact = copy.deepcopy(half).double()(x.double())
        _assert_near(_compiled(run, weights=weights)(x), exact, run(x), torch_dtype)
    assert snipjit.stats().patterns == {"linear": 2}


def test_merged_heads() -> None:
    """A sum over several axes, of rows enough that tiles share a part of the weight."""
    form = Form(
        lambda m, x: m.b(m.a(x).view(2, -1, 4, 6).transpose(1, 2).transpose(1, 2).flatten(2)),
        lambda: {"a": nn.Linear(24, 24), "b": nn.Linear(24, 24)},
    )
    _check(form, torch.bfloat16, 2)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("dtype", HALVES)
def test_what_pytorch_has_instructions_for(
    row: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    subgraph = structures.in_type(structures.linear(16, 80), dtype)
    target = replace(ROWS[row], features=())
    if dtype in NATIVE.get(row, ()):
        with pytest.raises(SlowerError, match=f"is {dtype}, which PyTorch multiplies by"):
            linear.refuse_native(subgraph, target)
    else:
        linear.refuse_native(subgraph, target)


@pytest.mark.parametrize(("kind", "row"), native_in_turn([*KINDS], ROWS))
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_row(kind: str, row: str, dtype: str, sizes: tuple[int, int]) -> None:
    """Kernels of each schedule, in small tiles and whole ones, on every instruction set."""
    (schedule, lies), target = KINDS[kind], ROWS[row] if sizes == WHOLE else small(ROWS[row])
    block = target.lanes if lies == "blocks" else 0
    if block and sizes == WHOLE and dtype == "bf16" and row in ("amx-bf16", "avx512-bf16"):
        pytest.xfail("blocks are not read in pairs right; such layers stay with PyTorch (NATIVE)")
    graph = structures.linear(*sizes, block=block, across=lies == "kn")
    run = _launcher(graph, target, schedule, dtype)
    w, b = (torch.randn(*size).to(DTYPES[dtype]) for size in (sizes[::-1], sizes[1:]))
    weight = w.mT.contiguous() if lies == "kn" else w
    if block:
        write = _launcher(structures.prepare(block), target, Schedule.OUTPUTS, dtype)
        weight = torch.as_tensor(write(w))
        assert weight.dtype == w.dtype
    for rows in (1, 3, 13, 31):
        x = torch.randn(rows, sizes[0]).to(w.dtype)
        want = F.gelu(F.linear(x.double(), w.double(), b.double())).numpy()
        have = kernels.array(torch.as_tensor(run(x, weight, b)))
        rounding = ROUNDING[dtype] * 1.01
        np.testing.assert_allclose(have, want, rtol=rounding, atol=2e-5 * sizes[0] ** 0.5)


def _launcher(graph: Any, target: Any, schedule: Schedule, dtype: str) -> Launcher:
    graph = structures.in_type(graph, dtype)
    return kernels.launcher_of(lower(graph, target, schedule=schedule), target)
