"""Kernels that limit what they compute, against the same kernels without limits, and eager."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from snipjit.compiler import lower
from snipjit.ir.element_types import Array
from snipjit.ir.schedule import Schedule
from tests import kernels
from tests.kernels import TARGETS, VARIANTS, natives_first
from tests.masked_graphs import CASES, FILLS, HIDDEN, LOWEST, Masked, arrays, unlimited

SIZES = ((1, 1), (17, 130), (300, 301), (200, 31), (5, 300), (8, 260), (0, 5), (5, 0))


def _tensors(given: list[Array]) -> list[torch.Tensor]:
    tensors = [torch.from_numpy(array) for array in given]
    return [t.float() if t.is_floating_point() else t for t in tensors]


@pytest.mark.parametrize("variant", natives_first(VARIANTS))
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 2, 3))])
def test_limits_change_nothing(variant: str, seed: int) -> None:
    (target, schedule), choose = VARIANTS[variant], random.Random(f"{variant} {seed}")
    case = choose.choice([case for case in CASES if case.fill is None])
    run = kernels.launcher_of(lower(case.subgraph(), target, schedule=schedule), target)
    whole = kernels.launcher_of(unlimited(case.subgraph(), target, schedule), target)
    for sizes in SIZES:
        for _ in range(4):
            scale, wide = choose.choice((1.0, 3e3)), choose.choice((4.0, 70.0, 7.5, -3.0))
            tensors = _tensors(arrays(*sizes, choose.choice(HIDDEN), scale))
            past = float(choose.choice((0, sizes[1] - sizes[0], -2, 10**9)))
            scalars = case.scalars(past, wide, choose.choice(FILLS))
            found, want = (kernels.results(f, tensors, scalars) for f in (run, whole))
            for one, other in zip(found, want, strict=True):
                np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5, err_msg=repr(case))


@pytest.mark.parametrize("target", natives_first(TARGETS))
@pytest.mark.parametrize("form", ["add two", "masked fill"])
def test_hidden_rows_average_all_keys(target: str, form: str) -> None:
    case = Masked("padded window", form, "softmax")
    run = kernels.launcher_of(lower(case.subgraph(), TARGETS[target]), TARGETS[target])
    q, k, v, keep, bias = _tensors(arrays(230, 230, "left"))
    keep[1, 40] = False
    (found,) = kernels.results(run, [q, k, v, keep, bias], case.scalars(0, 50, LOWEST))
    distance = torch.arange(230)[:, None] - torch.arange(230)
    seen = keep & (distance >= 0) & (distance < 50)
    scores = torch.where(seen, q @ k.mT + (bias if form == "add two" else 0), LOWEST)
    np.testing.assert_allclose(found, scores.softmax(-1) @ v, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(found[1, 40], v[1].mean(0), rtol=2e-5, atol=2e-5)


def test_nan_at_hidden_keys_stays_there() -> None:
    case, target = Masked("causal", "add", "softmax"), TARGETS["avx2"]
    run = kernels.launcher_of(lower(case.subgraph(), target, schedule=Schedule.ROWS), target)
    tensors = _tensors(arrays(200, 200, "nothing"))
    clean = run(*tensors, *case.scalars(0, 0, LOWEST))
    tensors[1][:, 150:], tensors[2][:, 150:] = torch.nan, torch.inf
    spoilt = run(*tensors, *case.scalars(0, 0, LOWEST))
    assert torch.equal(torch.as_tensor(spoilt)[:, :96], torch.as_tensor(clean)[:, :96])
