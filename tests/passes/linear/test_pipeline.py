"""The control-flow pipeline: the examples and other graphs, legal and right after every pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from snipjit.ir.axis_arrays import solve_axis_sizes
from snipjit.ir.element_types import Array
from snipjit.ir.interpret.subgraph import interpret as interpret_subgraph
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.ir.verify.linear import verify
from snipjit.passes.base import Pass, run_pipeline
from snipjit.passes.linear import pipeline, serving
from snipjit.runtime.engine import host_features
from snipjit.target.target_machine import TargetMachine, rows_for
from tests.canonical_graphs import GRAPHS
from tests.kernels import launcher_of, tuned
from tests.linear_examples import (
    BY_COLUMNS,
    EXAMPLES,
    TINY,
    Case,
    axis_sizes,
    canonical,
    cases,
    check_results,
    random_tensors,
)
from tests.linear_examples import SIZES as EXAMPLE_SIZES
from tests.stages import after

OTHER_TILES = tuned(
    TargetMachine("other", lanes=4),
    "other",
    {Schedule.ROWS: {"tile": 3, "panel": 12, "task": 28, "block": 10, "columns": 24}},
)

SIZES = ((1, 1), (37, 19))
"""Rows and columns: of one tile, and of several tasks and blocks with tails."""


def case_of(subgraph: Subgraph, rows: int, columns: int) -> Case:
    """A call of a graph and its results."""
    sizes = axis_sizes(subgraph, rows, columns, other=2)
    tensors = random_tensors(subgraph, sizes, seed=rows)
    scalars = [1.5] * len(subgraph.scalars)
    results = interpret_subgraph(subgraph, tensors, scalars)
    return Case(tuple(tensors), tuple(scalars), tuple(results))


EXTRA = {name: parse_subgraph(text) for name, text in GRAPHS.items()}
BY_COLUMNS_TOO = [name for name, graph in EXTRA.items() if len(serving(graph, TINY)) > 1]
VARIANTS = [
    *((name, TINY, Schedule.ROWS) for name in (*EXAMPLES, *EXTRA)),
    *((name, TINY, Schedule.COLUMNS) for name in (*BY_COLUMNS, *BY_COLUMNS_TOO)),
    *((name, OTHER_TILES, Schedule.ROWS) for name in EXTRA),
]


def calls(name: str, schedule: Schedule) -> list[Case]:
    """Calls of an example or another graph; by columns few rows, and several chunks."""
    if name in EXTRA:
        return [case_of(EXTRA[name], *size) for size in SIZES]
    return cases(name, ((1, 1), (3, 40)) if schedule is Schedule.COLUMNS else EXAMPLE_SIZES)


@pytest.mark.parametrize(
    ("name", "target", "schedule"),
    [
        pytest.param(
            *variant,
            id=f"{variant[0]}-{variant[1].name}-{variant[2].value}",
            marks=[]
            if number % 3 == 0 or variant[1:] == (TINY, Schedule.ROWS)
            else pytest.mark.long,
        )
        for number, variant in enumerate(VARIANTS)
    ],
)
def test_every_pass_keeps_the_meaning(name: str, target: TargetMachine, schedule: Schedule) -> None:
    """Each stage is legal, reads back and computes the same; the failure names the pass."""
    subgraph = EXTRA[name] if name in EXTRA else canonical(name)
    given, last = calls(name, schedule), [""]

    def check(step: Pass, lir: LinearIR) -> None:
        with after(step):
            verify(lir)
            text = print_linear(lir)
            assert parse_linear(text) == lir
            if text != last[0]:
                for case in given:
                    check_results(lir, case)
            last[0] = text

    verify(run_pipeline(pipeline(target, schedule), subgraph, dump=check), final=True)


@pytest.mark.parametrize("name", GRAPHS)
def test_kernels_compute_the_same(name: str) -> None:
    subgraph = parse_subgraph(GRAPHS[name])
    target = rows_for(host_features())[0]
    lir = run_pipeline(pipeline(target), subgraph)
    run = launcher_of(lir, target)
    for size in SIZES:
        case = case_of(subgraph, *size)
        inputs = [torch.from_numpy(single(tensor)) for tensor in case.tensors]
        output = run(*inputs, *case.scalars)
        outputs = output if isinstance(output, tuple) else (output,)
        for result, expected in zip(outputs, case.results, strict=True):
            np.testing.assert_allclose(result.numpy(), expected, rtol=1e-3, atol=1e-4)


def single(tensor: Array) -> Array:
    return tensor if tensor.dtype == bool else tensor.astype(np.float32)


def test_sizes_follow_from_shapes() -> None:
    subgraph = parse_subgraph(GRAPHS["merged dims"])
    dims = [node.type.dims for node in subgraph.parameters]
    shapes = [(3, 6, 5, 5), (3, 3, 7, 5), (3, 3, 7, 5)]
    sizes = solve_axis_sizes(subgraph.axes, dims, shapes)
    assert sizes == {"b": 3, "h": 3, "m": 5, "n": 7, "d": 5, "e": 5, "g": 2}


@pytest.mark.parametrize("name", ["attention_static", *list(EXTRA)[:2]])
def test_passes_leave_what_they_are_given(name: str) -> None:
    """A pass returns another LinearIR: the one before reads as it did."""
    subgraph = EXTRA[name] if name in EXTRA else canonical(name)
    before: list[tuple[LinearIR, str]] = []

    def check(step: Pass, lir: LinearIR) -> None:
        for given, text in before[-1:]:
            assert print_linear(given) == text, step.name
            assert given is not lir
        before.append((lir, print_linear(lir)))

    for schedule in (Schedule.ROWS, Schedule.COLUMNS)[: 1 + (name in BY_COLUMNS)]:
        before.clear()
        run_pipeline(pipeline(TINY, schedule), subgraph, dump=check)
