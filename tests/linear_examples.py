"""The examples of ``subgraphs.py`` at any stage of control flow, small enough to interpret."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

from snipjit.ir.element_types import Array
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.interpret.subgraph import interpret as interpret_subgraph
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.parts import Parts
from snipjit.ir.regions import copy_of
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.verify.linear import verify
from snipjit.passes import graph
from snipjit.passes.base import Pass, run_pipeline
from snipjit.passes.linear import pipeline
from snipjit.target.target_machine import TargetMachine
from tests.kernels import tuned
from tests.subgraphs import ALL

TINY = tuned(
    TargetMachine("tiny", lanes=4),
    "tiny",
    {
        Schedule.ROWS: {"task": 16, "block": 8, "unroll": 2},
        Schedule.COLUMNS: {"block": 8, "chunk": 8, "unroll": 2},
        Schedule.OUTPUTS: {"task": 8, "columns": 16, "block": 8, "depth": 8, "unroll": 2},
    },
)
"""Small enough that a few rows and columns take every loop and every tail."""

UNSUPPORTED = ("attention_scaled_k",)
"""A factor of a product whose contracted axis has no static size."""
EXAMPLES = [name for name in ALL if name not in UNSUPPORTED]
SIZES = ((1, 1), (13, 31), (33, 9))
"""Rows and columns: of one tile, of several blocks with a tail, of several tasks."""


@dataclass(frozen=True)
class Case:
    """One call of an example, and what it must give."""

    tensors: tuple[Array, ...]
    scalars: tuple[float, ...]
    results: tuple[Array, ...]


@cache
def canonical(name: str) -> Subgraph:
    """An example after data flow."""
    result: Subgraph = run_pipeline(graph.PIPELINE, ALL[name]())
    return result


ROWS_ONLY = ("softmax_alone", "mean_variance", "elementwise_chain")
"""Without a product there is no kernel by columns."""
BY_COLUMNS = [name for name in EXAMPLES if name not in ROWS_ONLY]
"""The examples that have a kernel for few rows."""


def axis_sizes(subgraph: Subgraph, rows: int, columns: int, other: int = 2) -> dict[str, int]:
    """Sizes of the axes: m is rows, n is columns, the rest is small; parts make about as much."""
    given = {"m": rows, "n": columns}
    sizes = {axis: size or given.get(axis, other) for axis, size in subgraph.axes.items()}
    parts = (Parts.of(node.attrs) for node in subgraph.parameters)
    for axis, own in {row for one in parts if one for row in one.whole}:
        outer, *inner = own
        sizes |= {part: min(number, sizes[axis]) for number, part in enumerate(inner, 5)}
        inside = prod(sizes[part] for part in inner)
        sizes[outer] = -(-sizes[axis] // inside)
        sizes[axis] = sizes[outer] * inside
    return sizes


def random_tensors(subgraph: Subgraph, sizes: dict[str, int], seed: int) -> list[Array]:
    """Inputs of an example; booleans are true for two thirds, and nowhere in the last place."""
    random = np.random.default_rng(seed)
    tensors: list[Array] = []
    for node in subgraph.parameters:
        parts = Parts.of(node.attrs)
        dims = parts.dims if parts is not None else node.type.dims
        shape = [prod(sizes[axis] for axis in dim) for dim in dims]
        if node.type.dtype == "i1":
            tensors.append(random.random(shape) < 0.67)
            tensors[-1][..., -1] = False
        else:
            tensors.append(random.standard_normal(shape))
    return tensors


@cache
def cases(name: str, sizes: tuple[tuple[int, int], ...] = SIZES) -> list[Case]:
    """Calls of an example with the results of the Subgraph's interpreter."""
    subgraph, made = canonical(name), []
    scalars = [0.3 + 0.1 * i for i in range(len(subgraph.scalars))]
    for seed, (rows, columns) in enumerate(sizes):
        tensors = random_tensors(subgraph, axis_sizes(subgraph, rows, columns), seed)
        results = interpret_subgraph(subgraph, tensors, scalars)
        made.append(Case(tuple(tensors), tuple(scalars), tuple(results)))
    return made


@cache
def _stages(name: str, target: TargetMachine, schedule: Schedule) -> dict[str, LinearIR]:
    stages: dict[str, LinearIR] = {}

    def keep(step: Pass, ir: LinearIR) -> None:
        stages[step.name] = ir

    run_pipeline(pipeline(target, schedule), canonical(name), dump=keep)
    return stages


def after(
    name: str,
    step: type[Pass],
    target: TargetMachine = TINY,
    schedule: Schedule = Schedule.ROWS,
) -> LinearIR:
    """An example after a pass of the control flow pipeline."""
    return copy_of(_stages(name, target, schedule)[step.__name__])


def final(name: str, target: TargetMachine = TINY, schedule: Schedule = Schedule.ROWS) -> LinearIR:
    """An example after the whole pipeline."""
    return copy_of(list(_stages(name, target, schedule).values())[-1])


def check_results(lir: LinearIR, case: Case) -> None:
    """The interpreter agrees with a case."""
    results = interpret(lir, case.tensors, case.scalars)
    for result, expected in zip(results, case.results, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-11)


def run_on_text(step: Pass, text: str) -> str:
    """What a pass makes of a printed LinearIR; before and after must be legal."""
    lir = parse_linear(text)
    verify(lir)
    lir = step.run(lir)
    verify(lir)
    return print_linear(lir)


def before_and_after(step: Pass, text: str) -> str:
    """A golden of a pass: the IR before and after."""
    return f"{print_linear(parse_linear(text))}\n# after {step.name}\n\n{run_on_text(step, text)}"


LAYER = """
linear @g lanes m x 4
axis m : rows task 16 panel 8 tile 2 vectors 2 unroll 2
axis e : columns task 8 tile 2 vectors 2 unroll 2
axis d : contraction tile 2 vectors 2 unroll 2
input %x : f32[d][m]
input %w : f32[e][d]
output %y : f32[e][m] order 0 1
parallel e step 8 {
  parallel m step 16 {
    for m step 8 {
      for e step 2 {
        %s = fill {value=0.0} : f32[e m]
        for d step 2 {
          %x.tile = load %x : f32[d m]
          %w.tile = load %w : f32[e d]
          %s = fma %w.tile %x.tile %s {over=(d)} : f32[e m]
        }
        store %y %s : f32[e m]
      }
    }
  }
}
"""
"""A linear layer by rows: panels of rows around tiles of columns."""
PREPARED = """
linear @prepared lanes d e x 4
axis m : rows task 8 tile 3 vectors 2 unroll 2
axis e : columns task 16 panel 8 tile 3 vectors 2 unroll 2
axis d : contraction tile 3 vectors 2 unroll 2
input %x : f32[m][d]
input %w : f32[e][d] block e 4
output %y : f32[m][e] order 0 1
parallel e step 16 {
  parallel m step 8 {
    for e step 8 {
      for m step 3 {
        %s = fill {value=0.0} : f32[m e]
        for d step 2 {
          %x.tile = load %x : f32[m d]
          %w.tile = load %w : f32[d e]
          %s = fma %x.tile %w.tile %s {over=(d)} : f32[m e]
        }
        store %y %s : f32[m e]
      }
    }
  }
}
"""
"""A linear layer whose weight lies in blocks: panels of columns around tiles of rows."""
