"""Results with strides of the caller's, as parts of larger tensors: kernels touch nothing between.

Every schedule and row, with awkward sizes: a tail that stored a whole vector, or rows that were
taken for one long row, would write to the gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from snipjit.compiler import lower, optimize
from snipjit.errors import InputError
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Subgraph
from snipjit.runtime.interface import NO_STRIDES, Ints
from snipjit.runtime.launcher import Key, Launcher, Plan
from tests import kernels, subgraphs
from tests.kernels import SMALL, native_in_turn

EXAMPLES: dict[str, Callable[[], Subgraph]] = {
    "linear": lambda: subgraphs.linear(9, 13),
    "layers": lambda: subgraphs.layers(9, 13),
    "attention": lambda: subgraphs.attention_sequence_major(D=7),
    "attention weights": lambda: subgraphs.attention_weights(D=7),
    "softmax": subgraphs.softmax_alone,
    "mean and variance": subgraphs.mean_variance,
    "chain": subgraphs.elementwise_chain,
    "layer norm": lambda: subgraphs.layer_norm(13),
}
SCHEDULES = {
    "linear": (Schedule.ROWS, Schedule.COLUMNS),
    "layers": (Schedule.ROWS, Schedule.COLUMNS, Schedule.OUTPUTS, Schedule.BLOCKS, Schedule.STEPS),
    "attention": (Schedule.ROWS, Schedule.COLUMNS),
}
GAP = 7.25


class Spread(Launcher):
    """Its results lie as every part of a tensor would that is larger along one dim."""

    dim = 0

    def _configure(self, key: Key, strides: Mapping[int, Ints] = NO_STRIDES) -> Plan:
        dense = super()._configure(key)
        layouts = zip(dense[7::2], dense[8::2], strict=True)
        spread = {i: self.spread(shape, steps) for i, (shape, steps) in enumerate(layouts)}
        return super()._configure(key, spread)

    def spread(self, shape: Ints, strides: Ints) -> Ints:
        """The strides of a part: what is outer to the dim goes as far as in the larger one."""
        dim = min(self.dim, len(shape) - 1)
        whole = strides[dim] * max(shape[dim], 1)
        return tuple(s // whole * (whole + 3 * strides[dim]) if s >= whole else s for s in strides)


@cache
def launchers(example: str, row: str) -> list[Launcher]:
    target, subgraph = SMALL[row], optimize(EXAMPLES[example]())
    return [
        kernels.launcher_of(lower(subgraph, target, schedule=schedule), target)
        for schedule in SCHEDULES.get(example, (Schedule.ROWS,))
    ]


def spread_results(run: Launcher, dim: int, tensors: list[Tensor], scalars: list[float]) -> Any:
    """The results of a call, or None if the kernel does not write them so; gaps are untouched."""
    made: list[Tensor] = []

    def empty(shape: Ints, strides: Ints, dtype: torch.dtype) -> Tensor:
        end = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        memory = torch.full((end + 64,), GAP, dtype=dtype)
        made.append(memory.as_strided(shape, strides, 32))
        return made[-1]

    spread = Spread(run.structure, empty=empty)
    spread.dim = dim
    try:
        result = spread(*tensors, *scalars)
    except InputError as error:
        if "outputs with strides" not in str(error):
            raise
        return None
    for tensor in made:
        kept, floats = tensor.clone(), tensor.untyped_storage().nbytes() // 4
        tensor.fill_(GAP)
        assert bool((tensor.as_strided((floats,), (1,), 0) == GAP).all())
        tensor.copy_(kept)
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(("example", "row"), native_in_turn([*EXAMPLES], SMALL))
def test_parts_of_larger_tensors(example: str, row: str) -> None:
    subgraph, written = EXAMPLES[example](), 0
    for run in launchers(example, row):
        for seed, (b, m, n) in enumerate([(1, 1, 1), (1, 37, 41), (2, 13, 19), (3, 5, 67)]):
            sizes = {"b": b, "m": m, "n": n}
            tensors, scalars = kernels.inputs(subgraph, sizes, seed)
            own = run(*tensors, *scalars)
            wanted = own if isinstance(own, tuple) else (own,)
            for dim in range(max(result.dim() for result in wanted)):
                found = spread_results(run, dim, tensors, scalars)
                written += found is not None
                for one, two in zip(found or wanted, wanted, strict=True):
                    assert torch.equal(one, two)
    assert written
