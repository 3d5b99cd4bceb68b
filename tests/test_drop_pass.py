"""Every pass is needed: without it a verifier, the numbers, or a counter with a name tells so."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from snipjit.compiler import emit
from snipjit.errors import UnsupportedError, VerificationError
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.linear_ir import LinearIR, Loop, is_kind
from snipjit.ir.operations import kind_of
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Subgraph, SubgraphBuilder, TensorType
from snipjit.ir.text.subgraph import parse_subgraph, print_subgraph
from snipjit.ir.verify.linear import verify
from snipjit.ir.verify.subgraph import verify_canonical
from snipjit.passes import graph, linear
from snipjit.passes.base import run_pipeline
from snipjit.target.target_machine import TARGETS, TargetMachine
from tests import kernels, subgraphs
from tests.narrow import narrowed

TARGET = kernels.tuned(
    TARGETS[-1],
    "portable, short blocks",
    {Schedule.ROWS: {"task": 16, "block": 8}, Schedule.COLUMNS: {"block": 8}},
)
GRAPH = [step.name for step in graph.PIPELINE]
SCHEDULES = (linear.pipeline(TARGET), linear.pipeline(TARGET, Schedule.COLUMNS))
LINEAR = [*dict.fromkeys(step.name for steps in SCHEDULES for step in steps)]
ONLY_BY_COLUMNS = ("SplitStream",)
TILED = kernels.tuned(
    next(row for row in TARGETS if row.tiles),
    "tiles, short blocks",
    {Schedule.ROWS: {"task": 64, "block": 32}},
)
ONLY_IN_TILES = ("RoundFactors", "RelaxExponentials", "PadBuffers", "AssignTiles")


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


def hidden_rows() -> Subgraph:
    """Weights of scores of which rows see nothing, as a model writes them."""
    build = SubgraphBuilder("hidden_rows", x1=8, w1=8)
    x = build.add("parameter", TensorType.of("f32", "x0", "x1"), name="x")
    w = build.add("parameter", TensorType.of("f32", "w1", "w0"), name="w")
    scores, row = TensorType.of("f32", "x0", "w0"), TensorType("f32", (("x0",), ()))
    s = build.add("matmul", scores, x, w)
    top = build.add("reduce_dims", row, s, monoid="max", dims=(-1,), keepdim=True)
    lowest, zero = (build.add("constant", TensorType("f32"), value=n) for n in (-math.inf, 0.0))
    hidden = build.add("eq", TensorType("i1", row.dims), top, lowest)
    top = build.add("where", row, hidden, zero, top)
    p = build.add("exp", scores, build.add("sub", scores, s, top))
    total = build.add("reduce_dims", row, p, monoid="sum", dims=(-1,), keepdim=True)
    build.result(total, name="y")
    return build.subgraph()


PIXELS = """
subgraph @pixels
axis q3 = 8
axis k3 = 8
axis v3 = 8
%q = parameter : f32[q0][q1 q2][q3]
%k = parameter : f32[k0][k1 k2][k3]
%v = parameter : f32[v0][v1][v3]
%h = parameter : f32[h0][h1][h2][h3]
%w = parameter : f32[w0][w1][w2][w3]
%t = transpose %k {order=(0, 2, 1)} : f32[k0][k3][k1 k2]
%s = matmul %q %t : f32[q0][q1 q2][k1 k2]
%a = view %s : f32[q0][q1][q2][k1][k2]
%hh = unsqueeze %h {dim=4} : f32[h0][h1][h2][h3][]
%b = add %a %hh : f32[q0][q1][q2][k1][k2]
%ww = unsqueeze %w {dim=3} : f32[w0][w1][w2][][w3]
%c = add %b %ww : f32[q0][q1][q2][k1][k2]
%d = view %c : f32[q0][q1 q2][k1 k2]
%p = softmax %d {dim=-1} : f32[q0][q1 q2][k1 k2]
%o = matmul %p %v : f32[q0][q1 q2][v3]
%y = result %o {order=(0, 1, 2)} : f32[q0][q1 q2][v3]
"""
"""Rows and columns of an image have biases of their own."""


def pixels() -> Subgraph:
    subgraph = parse_subgraph(PIXELS)
    axes = dict.fromkeys(axis for node in subgraph.nodes for axis in node.type.axes)
    return replace(subgraph, axes={axis: subgraph.axes.get(axis) for axis in axes})


EXAMPLES: dict[str, Callable[[], Subgraph]] = {
    "hidden rows": hidden_rows,
    "attention": lambda: subgraphs.attention("full", D=8, scale="k"),
    "sequence major": lambda: subgraphs.attention_sequence_major(8, "padding"),
    "sdpa": lambda: subgraphs.sdpa(gqa=True, D=8),
    "mean and variance": subgraphs.mean_variance,
    "row bias": row_bias,
    "shifted": shifted,
    "cast factor": cast_factor,
    "causal": lambda: subgraphs.sdpa(causal=True, D=8, scale=False),
    "pixels": pixels,
    "linear": subgraphs.linear,
    "layers": subgraphs.layers,
    "dequantized": subgraphs.dequantized,
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


# How each pass is missed: by a verifier's error, by wrong numbers, or by a counter with a name.

NOTICED: dict[str, str] = {
    "PropagatePrecision": "verifier",
    "EliminateDeadNodes": "more expressions",
    "SdpaDecomposition": "verifier",
    "Canonicalization": "refused",
    "DropSoftmaxShift": "more products",
    "SoftmaxDecomposition": "verifier",
    "ReduceDimsToReduce": "verifier",
    "MatmulToBrgemm": "verifier",
    "NameAxes": "more divisions",
    "FuseLayouts": "verifier",
    "ShareColumns": "more axes",
    "MergeAxes": "refused",
    "EliminateRedundantConverts": "more casts",
    "SafeMaxima": "more expressions",
    "ScaleColumns": "more instructions",
    "MoveScalarFactors": "more loads",
    "DeferNormalization": "more products",
    "ExpToExp4": "more exponentials in base e",
    "ScaleRows": "more multiplications",
    "CommonSubexpressions": "more expressions",
    "NameValues": "sharing",
    "ConvertGraphToLinear": "no LinearIR",
    "ChooseSchedule": "no plans",
    "FuseConverts": "more casts",
    "MarkLoops": "refused",
    "InitializeAccumulators": "numbers",
    "FuseOnline": "more products",
    "SplitStream": "fewer joins",
    "RoundFactors": "verifier",
    "RelaxExponentials": "more instructions",
    "PackOperands": "fewer loads",
    "SplitLoops": "fewer products",
    "LimitLoops": "fewer limits",
    "RowUnits": "more exponentials in base 4",
    "FuseLoops": "verifier",
    "ReduceDecomposition": "verifier",
    "BrgemmBlocking": "verifier",
    "InsertBuffers": "verifier",
    "PadBuffers": "fewer pads",
    "InsertLoadStore": "verifier",
    "InsertDequantization": "verifier",
    "ExtractLoopInvariants": "more expressions",
    "PrefetchNextTile": "fewer prefetches",
    "PrefetchStrided": "fewer prefetches",
    "KeepPacked": "fewer buffers kept",
    "AllocateBuffers": "verifier",
    "InsertSpecificIterations": "verifier",
    "AssignTiles": "fewer products in tile registers",
    "InitLoops": "verifier",
}


def _counters(lir: LinearIR, text: str) -> dict[str, int]:
    """What a kernel has how often, in its final form and in LLVM IR."""
    ops = Counter(e.op for e in lir.expressions())
    loops = [s for s, _ in lir.walk() if isinstance(s, Loop)]
    return {
        "axes": len(lir.axes),
        "expressions": ops.total(),
        "products": ops["fma"],
        "products in tile registers": sum("registers" in e.attrs for e in lir.expressions()),
        "divisions": ops["div"],
        "multiplications": ops["mul"],
        "casts": sum(n for op, n in ops.items() if kind_of(op) == "cast"),
        "loads": ops["load"],
        "exponentials in base e": ops["exp"],
        "exponentials in base 4": ops["exp4"],
        "pads": ops["pad"],
        "prefetches": ops["prefetch"],
        "buffers kept": sum(is_kind(loop, "once") for loop in loops),
        "limits": sum(len(loop.limits) for loop in loops),
        "joins": sum(is_kind(loop, "join") for loop in loops),
        "instructions": text.count("\n"),
    }


@cache
def _whole(example: str, target: TargetMachine, schedule: Schedule) -> dict[str, int]:
    return _counters(*_compile(EXAMPLES[example](), "", target, schedule))


@cache
def _call(example: str) -> tuple[list[Any], list[float], list[Any]]:
    subgraph = EXAMPLES[example]()
    tensors, scalars = kernels.inputs(subgraph, SIZES)
    arrays = [kernels.array(tensor) for tensor in tensors]
    return arrays, scalars, kernels.expected(subgraph, tensors, scalars)


def _notices(example: str, dropped: str) -> set[str]:
    """All that tells that a pass is missing."""
    subgraph = EXAMPLES[example]()
    schedule = Schedule.COLUMNS if dropped in ONLY_BY_COLUMNS else Schedule.ROWS
    target = TILED if dropped in ONLY_IN_TILES else TARGET
    try:
        if not _shares_kernels(subgraph, dropped):
            return {"sharing"}
        lir, text = _compile(subgraph, dropped, target, schedule)
    except VerificationError:
        return {"verifier"}
    except UnsupportedError:
        return {"refused"}
    found = set() if _is_right(lir, *_call(example)) else {"numbers"}
    whole, counters = _whole(example, target, schedule), _counters(lir, text)
    found |= {f"more {name}" for name, count in counters.items() if count > whole[name]}
    return found | {f"fewer {name}" for name, count in counters.items() if count < whole[name]}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_whole_pipeline_is_right(example: str) -> None:
    lir, _ = _compile(EXAMPLES[example](), "")
    assert _shares_kernels(EXAMPLES[example](), "")
    assert _is_right(lir, *_call(example))


@pytest.mark.parametrize("dropped", NOTICED)
def test_a_dropped_pass_is_noticed(dropped: str) -> None:
    if dropped in ("ConvertGraphToLinear", "ChooseSchedule"):
        canonical = run_pipeline(graph.PIPELINE, EXAMPLES["sdpa"]())
        lir = run_pipeline(SCHEDULES[0], canonical, until=dropped)
        assert isinstance(lir, LinearIR)
        assert bool(lir.plans) == (dropped == "ChooseSchedule")
        return
    assert any(NOTICED[dropped] in _notices(example, dropped) for example in EXAMPLES)


def test_every_pass_has_its_notice() -> None:
    assert {*NOTICED} == {*GRAPH, *LINEAR}
