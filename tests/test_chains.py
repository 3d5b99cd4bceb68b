"""Drawn chains, side inputs, shapes and strides on every target row, against float64."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings

from snipjit.compiler import lower, optimize
from snipjit.ir.element_types import Array
from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.schedule import Schedule
from snipjit.ir.verify.linear import verify
from snipjit.runtime.launcher import Launcher
from snipjit.target.candidates import candidate
from snipjit.target.target_machine import TargetMachine
from tests import kernels
from tests.chain_graphs import MOST_DEPTH, Drawn, bias_and_mask, every_function, subgraphs
from tests.kernels import SMALL, TARGETS, natives_first

SIZES = {"b": (2, 1, 3, 0), "m": (5, 1, 13, 37, 67, 0), "n": (7, 1, 19, 41, 0), "e": (3, 1, 17)}
"""By role of the axis: few and many, primes, none; several panels of rows and blocks of columns."""
Domain = tuple[float, float]

drawn = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking would compile hundreds of kernels
    suppress_health_check=list(HealthCheck),
)


def test_the_sizes_are_awkward() -> None:
    """They reach beyond a task's rows and a block's columns on every small row."""
    for row in SMALL.values():
        rows = candidate(row, Schedule.ROWS)
        assert max(SIZES["m"]) > 2 * rows.task or row.lanes == 16
        assert max(SIZES["n"]) > 2 * rows.block


@pytest.mark.parametrize("target", natives_first(SMALL))
@settings(drawn, max_examples=30)
@given(subgraphs())
def test_drawn_chains(target: str, case: Drawn) -> None:
    check(case, SMALL[target], calls=3)


@pytest.mark.parametrize("target", natives_first(TARGETS))
@settings(drawn, max_examples=3)
@given(subgraphs())
def test_drawn_chains_in_whole_tiles(target: str, case: Drawn) -> None:
    check(case, TARGETS[target], calls=3)


@pytest.mark.parametrize("target", natives_first(SMALL))
def test_every_function_in_one_chain(target: str) -> None:
    check(every_function(), SMALL[target], calls=3)


def test_broadcasts_are_compiled_in_whatever_stands_beside_them() -> None:
    """A mask [b 1 1 n] keeps no row axis, although a bias [1 h m n] renamed the rows before."""
    bias, mask = optimize(bias_and_mask()).parameters[2:]
    assert [len(dim) for dim in bias.type.dims] == [1, 1, 1, 1]
    assert [len(dim) for dim in mask.type.dims] == [1, 1, 0, 1]


def check(case: Drawn, target: TargetMachine, calls: int) -> None:
    """Compile once, and call with several sizes and layouts."""
    lir = lower(optimize(case.subgraph), target)
    verify(lir, final=True)
    run = kernels.launcher_of(lir, target)
    for seed in range(calls):
        random = np.random.default_rng(seed)
        tensors = random_tensors(case, random_sizes(case, random), random)
        assert_close(run, case, tensors)


def assert_close(run: Launcher, case: Drawn, tensors: list[torch.Tensor]) -> None:
    """Every result equals float64, within what rounding does to the same program in NumPy.

    Draws that f32 cannot compute well are passed over.
    """
    arrays, scalars = [tensor.numpy() for tensor in tensors], list(case.scalars)
    results = kernels.results(run, tensors, scalars)
    exact = interpret(case.subgraph, arrays, scalars)
    rounded = interpret(case.subgraph, arrays, scalars, dtype=np.float32)
    for got, want, near in zip(results, exact, rounded, strict=True):
        assert got.shape == want.shape
        finite = np.isfinite(want)
        size = np.abs(want[finite]).max(initial=1.0)
        error = np.abs(near[finite] - want[finite]).max(initial=0.0)
        if error < 1e-4 * size < 100.0:
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-5 * size + 20 * error)


# Calls


def random_sizes(case: Drawn, random: np.random.Generator) -> dict[str, int]:
    """A size for each axis of the canonical form."""
    depths = range(1, MOST_DEPTH + 1)
    return {
        axis: static or int(random.choice(SIZES.get(axis.rstrip("0123456789"), depths)))
        for axis, static in optimize(case.subgraph).axes.items()
    }


def random_tensors(
    case: Drawn, sizes: dict[str, int], random: np.random.Generator
) -> list[torch.Tensor]:
    """A tensor for each parameter, in any layout; where batch dims broadcast, of size 1 or not."""
    tensors = []
    canonical = optimize(case.subgraph).parameters
    for domain, own, node in zip(case.domains, case.subgraph.parameters, canonical, strict=True):
        ones = own.attrs.get("ones", ())
        whole = [prod(sizes[axis] for axis in dim) for dim in node.type.dims]
        shape = [1 if i in ones and random.integers(2) else size for i, size in enumerate(whole)]
        values = random.uniform(*domain, shape)
        values = np.round(values * 4) / 4 if case.exact else values
        array: Array = np.asarray(values < 0.7 if own.type.dtype == "i1" else values)
        array = array if array.dtype == bool else array.astype(np.float32)
        layout = LAYOUTS[random.integers(len(LAYOUTS))]
        tensors.append(layout(torch.from_numpy(array), whole, random))
    return tensors


def _contiguous(x: torch.Tensor, whole: list[int], random: np.random.Generator) -> torch.Tensor:
    return x


def _expanded(x: torch.Tensor, whole: list[int], random: np.random.Generator) -> torch.Tensor:
    return x.expand(whole)


def _transposed(x: torch.Tensor, whole: list[int], random: np.random.Generator) -> torch.Tensor:
    order = random.permutation(x.dim())
    inverse = np.argsort(order)
    return x.permute(order.tolist()).contiguous().permute(inverse.tolist())


def _sliced(x: torch.Tensor, whole: list[int], random: np.random.Generator) -> torch.Tensor:
    return _part(x, 1)


def _stepped(x: torch.Tensor, whole: list[int], random: np.random.Generator) -> torch.Tensor:
    return _part(x, 2)


def _part(x: torch.Tensor, step: int) -> torch.Tensor:
    wide = torch.zeros([step * size + 3 for size in x.shape], dtype=x.dtype)
    part = wide[tuple(slice(2, 2 + step * size, step) for size in x.shape)]
    return part.copy_(x)


LAYOUTS: list[Callable[[torch.Tensor, list[int], np.random.Generator], torch.Tensor]] = [
    _contiguous, _expanded, _transposed, _sliced, _stepped,
]  # fmt: skip
