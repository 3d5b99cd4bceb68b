"""Every pass is needed: without it a verifier, the numbers, the code or its sharing suffers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from snipjit.compiler import emit
from snipjit.interpret_linear import interpret
from snipjit.linear_ir import LinearIR
from snipjit.passes import graph, linear
from snipjit.passes.base import run_pipeline
from snipjit.schedule import Schedule
from snipjit.subgraph import Subgraph, SubgraphBuilder, TensorType
from snipjit.target_machine import TARGETS, TargetMachine
from snipjit.text_subgraph import print_subgraph
from snipjit.verify_linear import verify
from snipjit.verify_subgraph import verify_canonical
from tests import kernels, subgraphs
from tests.narrow import narrowed

TARGET = replace(TARGETS[-1], task_vectors=4, block=8, column_block=8)
GRAPH = [step.name for step in graph.PIPELINE]
SCHEDULES = (linear.pipeline(TARGET), linear.pipeline(TARGET, Schedule.COLUMNS))
LINEAR = [*dict.fromkeys(step.name for steps in SCHEDULES for step in steps)]
ONLY_BY_COLUMNS = ("SplitStream",)
TILED = next(replace(row, task_vectors=4, block=32) for row in TARGETS if row.tiles)
ONLY_IN_TILES = ("RoundFactors", "RelaxExponentials", "TileProducts", "PadBuffers", "AssignTiles")


def row_bias() -> Subgraph:
    """Softmax of a product plus one number a row, written with a cast and a common factor twice."""
    build = SubgraphBuilder("row_bias", x2=8, w1=8)
    x = build.add("parameter", TensorType.of("f32", "x0", "x1", "x2"), name="x")
    w = build.add("parameter", TensorType.of("f32", "w0", "w1"), name="w")
    bias = build.add("parameter", TensorType.of("f32", "r0", "r1", "r2"), name="bias", ones=(2,))
    scale = build.add("scalar", TensorType("f32"), name="scale")
    wt = build.add("transpose", TensorType.of("f32", "w1", "w0"), w, order=(1, 0))
    scores = TensorType.of("f32", "x0", "x1", "w0")
    s = build.add("matmul", scores, x, wt)
    build.add("exp", scores, s)  # dead
    s = build.add("to_f32", scores, s)
    one, two = (build.add("mul", scores, s, scale) for _ in range(2))
    s = build.add("add", scores, build.add("maximum", scores, one, two), bias)
    build.result(build.add("softmax", scores, s, dim=-1), name="y")
    return build.subgraph()


def shifted() -> Subgraph:
    """Softmax of scores from which their maximum was subtracted already."""
    build = SubgraphBuilder("shifted", x1=8, w1=8)
    x = build.add("parameter", TensorType.of("f32", "x0", "x1"), name="x")
    w = build.add("parameter", TensorType.of("f32", "w1", "w0"), name="w")
    scores = TensorType.of("f32", "x0", "w0")
    s = build.add("matmul", scores, x, w)
    row = TensorType("f32", (("x0",), ()))
    top = build.add("reduce_dims", row, s, monoid="max", dims=(-1,), keepdim=True)
    build.result(build.add("softmax", scores, build.add("sub", scores, s, top), dim=-1), name="y")
    return build.subgraph()


def cast_factor() -> Subgraph:
    """A scaled product, behind a cast that changes nothing."""
    build = SubgraphBuilder("cast_factor", x1=8, w1=8)
    x = build.add("parameter", TensorType.of("f32", "x0", "x1"), name="x")
    w = build.add("parameter", TensorType.of("f32", "w1", "w0"), name="w")
    scale = build.add("scalar", TensorType("f32"), name="scale")
    scores = TensorType.of("f32", "x0", "w0")
    cast = build.add("to_f32", scores, build.add("matmul", scores, x, w))
    scaled = build.add("mul", scores, cast, scale)
    build.result(build.add("softmax", scores, scaled, dim=-1), name="y")
    return build.subgraph()


EXAMPLES: dict[str, Callable[[], Subgraph]] = {
    "attention": lambda: subgraphs.attention("full", D=8, scale="k"),
    "sequence major": lambda: subgraphs.attention_sequence_major(8, "padding"),
    "sdpa": lambda: subgraphs.sdpa(gqa=True, D=8),
    "mean and variance": subgraphs.mean_variance,
    "row bias": row_bias,
    "shifted": shifted,
    "cast factor": cast_factor,
    "causal": lambda: subgraphs.sdpa(causal=True, D=8, scale=False),
    "bfloat16": lambda: narrowed(subgraphs.attention("full", D=32), "bf16"),
}
SIZES = {"m": 21, "n": 37}


def _compile(
    subgraph: Subgraph,
    dropped: str,
    target: TargetMachine = TARGET,
    schedule: Schedule = Schedule.ROWS,
) -> tuple[LinearIR, str]:
    """The whole pipeline without one pass, verified as the compiler verifies it."""
    passes = [step for step in graph.PIPELINE if step.name != dropped]
    canonical = run_pipeline(passes, subgraph)
    verify_canonical(canonical)
    steps = [step for step in linear.pipeline(target, schedule) if step.name != dropped]
    lir: LinearIR = run_pipeline(steps, canonical)
    verify(lir, final=True)
    return lir, emit(lir, target)


def _is_right(lir: LinearIR, tensors: list[Any], scalars: list[float], want: list[Any]) -> bool:
    with np.errstate(all="ignore"):
        got = interpret(lir, tensors, scalars)
    rtol, atol = (1e-6, 1e-8) if lir.outputs[0].dtype == "f32" else (0.05, 0.05)
    return all(np.allclose(a, b, rtol, atol, True) for a, b in zip(got, want, strict=True))


def _renamed(subgraph: Subgraph) -> Subgraph:
    """The same structure under the names of another tokenizer."""
    nodes = [
        replace(
            node,
            name=f"other_{node.name}",
            inputs=tuple(f"other_{name}" for name in node.inputs),
        )
        for node in subgraph.nodes
    ]
    return subgraph.with_nodes(nodes)


def _shares_kernels(subgraph: Subgraph, dropped: str) -> bool:
    """Whether equal structures of other names print equally, and so share a kernel."""
    passes = [step for step in graph.PIPELINE if step.name != dropped]
    one, two = (run_pipeline(passes, each) for each in (subgraph, _renamed(subgraph)))
    return print_subgraph(one) == print_subgraph(two)


@cache
def _whole(example: str, target: TargetMachine, schedule: Schedule) -> str:
    return _compile(EXAMPLES[example](), "", target, schedule)[1]


@cache
def _call(example: str) -> tuple[list[Any], list[float], list[Any]]:
    subgraph = EXAMPLES[example]()
    tensors, scalars = kernels.inputs(subgraph, SIZES)
    return tensors, scalars, kernels.expected(subgraph, tensors, scalars)


def _is_noticed(example: str, dropped: str) -> bool:
    subgraph, (tensors, scalars, want) = EXAMPLES[example](), _call(example)
    schedule = Schedule.COLUMNS if dropped in ONLY_BY_COLUMNS else Schedule.ROWS
    target = TILED if dropped in ONLY_IN_TILES else TARGET
    whole = _whole(example, target, schedule)
    try:
        if not _shares_kernels(subgraph, dropped):
            return True
        lir, text = _compile(subgraph, dropped, target, schedule)
        arrays = [kernels.array(t) for t in tensors]
        return text != whole or not _is_right(lir, arrays, scalars, want)
    except Exception:  # any complaint is a notice, a KeyError of a later pass included
        return True


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_whole_pipeline_is_right(example: str) -> None:
    subgraph = EXAMPLES[example]()
    tensors, scalars = kernels.inputs(subgraph, SIZES)
    want = kernels.expected(subgraph, tensors, scalars)
    lir, _ = _compile(subgraph, "")
    assert _shares_kernels(subgraph, "")
    assert _is_right(lir, [kernels.array(t) for t in tensors], scalars, want)


@pytest.mark.parametrize("dropped", [*GRAPH, *LINEAR])
def test_a_dropped_pass_is_noticed(dropped: str) -> None:
    assert any(_is_noticed(example, dropped) for example in EXAMPLES)
