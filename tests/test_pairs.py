"""Products of pairs: bf16 factors two by two, however they lie in memory."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from snipjit.compiler import lower
from snipjit.errors import UnsupportedError
from snipjit.ir.expression import Expression
from snipjit.ir.interpret.linear import interpret
from snipjit.ir.interpret.subgraph import interpret as interpret_subgraph
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.schedule import OF_PRODUCTS, Schedule
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.tensors import Buffer
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.parse_linear import parse_linear
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.ir.verify.linear import verify
from snipjit.passes.base import Pass, run_pipeline
from snipjit.passes.linear import pipeline
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.scratchpad import Scratchpads
from snipjit.target.target_machine import TargetMachine
from tests import subgraphs
from tests.guard import guarded_scratch, survives
from tests.kernels import ROUNDING, ROWS, array, is_native, launcher_of, results, small, tuned
from tests.linear_examples import TINY

ATTENTION = """
subgraph @attention
axis b
axis m
axis n
axis d = {d}
axis e = {e}
%q = parameter : bf16{q}
%k = parameter : bf16{k}
%v = parameter : bf16{v}
%s = brgemm %q %k {{over=(d)}} : f32[b][m][n]
%x = reduce %s {{monoid=larger, over=(n)}} : f32[b][m]
%c = sub %s %x : f32[b][m][n]
%p = exp %c : f32[b][m][n]
%o = brgemm %p %v {{over=(n)}} : f32[b][m][e]
%l = reduce %p {{monoid=sum, over=(n)}} : f32[b][m]
%y = div %o %l : f32[b][m][e]
%t = to_bf16 %y : bf16[b][m][e]
%r = result %t {{order=(0, 1, 2)}} : bf16[b][m][e]
"""
USUAL = {"q": "[b][m][d]", "k": "[b][n][d]", "v": "[b][n][e]"}
LAYOUTS = {
    "usual": {},
    "lanes innermost": {"q": "[b][d][m]"},
    "rows and pairs strided": {"q": "[m][d][b]"},
    "keys innermost": {"k": "[b][d][n]"},
    "keys and pairs strided": {"k": "[n][d][b]"},
    "value pairs innermost": {"v": "[b][e][n]"},
    "value pairs strided": {"v": "[n][e][b]"},
    "transposed cache": {"k": "[b][d][n]", "v": "[b][e][n]"},
    "merged heads": {"q": "[m][b d]", "k": "[n][b d]", "v": "[n][b e]"},
}
HEADS = ((16, 16), (5, 21), (1, 1), (40, 7), (48, 48), (2, 80))
"""Of pairs and vectors of them: some fill whole ones, some only halves."""
CASES = [
    *((name, 16, 16) for name in LAYOUTS),
    *(("usual", d, e) for d, e in HEADS[1:]),
    ("keys innermost", 5, 21),
    ("rows and pairs strided", 5, 21),
]
SIZES = ((1, 1), (3, 2), (17, 31), (70, 130), (200, 257))
PAIRED = tuned(replace(TINY, pairs=("bf16",)), "tiny pairs", {key: {} for key in Schedule})
TILED = tuned(replace(PAIRED, tiles=8), "tiny tiles", {Schedule.ROWS: {"held": 8}})

TARGET = small(ROWS["avx512-bf16"])
QUICK = [("usual", 16, 16), ("usual", 5, 21), ("keys innermost", 5, 21), ("merged heads", 16, 16)]
"""What runs with the short tests where the row is emulated."""

pytestmark = pytest.mark.target("avx512-bf16")
cases = pytest.mark.parametrize(
    ("layout", "d", "e"),
    [
        pytest.param(*case, marks=[] if is_native(TARGET) or case in QUICK else pytest.mark.long)
        for case in CASES
    ],
)


def attention(layout: str, d: int, e: int, n: int | None = None) -> Subgraph:
    """A canonical attention of bf16 inputs that lie in memory as told; ``n`` static keys."""
    text = ATTENTION.format(d=d, e=e, **{**USUAL, **LAYOUTS[layout]})
    return parse_subgraph(text if n is None else text.replace("axis n\n", f"axis n = {n}\n"))


def tensors(subgraph: Subgraph, m: int, n: int) -> list[torch.Tensor]:
    sizes = {axis: size or {"b": 2, "m": m, "n": n}[axis] for axis, size in subgraph.axes.items()}
    generator = torch.Generator().manual_seed(m)
    shapes = [
        [int(np.prod([sizes[axis] for axis in dim])) for dim in node.type.dims]
        for node in subgraph.parameters
    ]
    return [torch.randn(shape, generator=generator).bfloat16() for shape in shapes]


def assert_near(got: np.ndarray, want: np.ndarray, rounding: float = ROUNDING["bf16"]) -> None:
    size = np.abs(want[np.isfinite(want)]).max(initial=1.0)
    np.testing.assert_allclose(got, want, rtol=rounding * 1.01, atol=2 * rounding * size)


@cache
def compiled(layout: str, d: int, e: int, schedule: Schedule = Schedule.ROWS) -> Launcher:
    return launcher_of(lower(attention(layout, d, e), TARGET, schedule=schedule), TARGET)


@cases
@pytest.mark.parametrize("schedule", OF_PRODUCTS)
def test_kernels_agree_with_float64(layout: str, d: int, e: int, schedule: Schedule) -> None:
    subgraph, run = attention(layout, d, e), compiled(layout, d, e, schedule)
    for m, n in SIZES:
        given = tensors(subgraph, m, n)
        (want,) = interpret_subgraph(subgraph, [array(tensor) for tensor in given], ())
        assert_near(results(run, given, [])[0], want)


def test_a_pair_beyond_the_end_is_zero() -> None:
    """Whatever the scratchpad and the memory behind the tensors hold."""
    subgraph, run = attention("usual", 5, 21), compiled("usual", 5, 21)
    run(*(torch.full_like(tensor, float("nan")) for tensor in tensors(subgraph, 70, 130)))
    for m, n in ((1, 1), (17, 31), (33, 129)):
        given = tensors(subgraph, m, n)
        padded = [
            torch.full((*t.shape[:-1], t.shape[-1] + 3), float("nan"), dtype=t.dtype) for t in given
        ]
        for tensor, space in zip(given, padded, strict=True):
            space[..., : tensor.shape[-1]] = tensor
        inside = [p[..., : t.shape[-1]] for t, p in zip(given, padded, strict=True)]
        (want,) = interpret_subgraph(subgraph, [array(tensor) for tensor in given], ())
        assert_near(results(run, inside, [])[0], want)


@pytest.mark.parametrize("n", [1, 3, 17, 33])
@pytest.mark.parametrize("layout", ["usual", "keys innermost", "value pairs innermost"])
def test_few_rows_of_static_keys_stay_in_the_scratchpad(layout: str, n: int) -> None:
    subgraph = attention(layout, 40, 16, n)
    kernel = launcher_of(lower(subgraph, TARGET, schedule=Schedule.COLUMNS), TARGET).structure

    def call() -> None:
        torch.set_num_threads(1)
        run = Launcher(kernel, Scratchpads(guarded_scratch("end")))
        given = tensors(subgraph, 3, n)
        (want,) = interpret_subgraph(subgraph, [array(tensor) for tensor in given], ())
        assert_near(results(run, given, [])[0], want)

    assert survives(call)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("target", [PAIRED, TILED], ids=lambda target: target.name)
def test_every_pass_keeps_the_meaning(layout: str, target: TargetMachine) -> None:
    subgraph = attention(layout, 5, 7) if target is PAIRED else attention(layout, 8, 12)
    calls = []
    for m, n in ((1, 1), (13, 9)):
        arrays = [array(tensor).astype(np.float64) for tensor in tensors(subgraph, m, n)]
        calls.append((arrays, interpret_subgraph(subgraph, arrays, ())[0]))

    def check(step: Pass, lir: LinearIR) -> None:
        verify(lir)
        assert parse_linear(print_linear(lir)) == lir, step.name
        for arrays, want in calls:
            assert_near(interpret(lir, arrays)[0], want)

    verify(run_pipeline(pipeline(target), subgraph, dump=check), final=True)


def test_what_is_in_pairs() -> None:
    """Rows, weights and values in buffers; keys as they lie in memory."""
    lir = lower(attention("usual", 16, 16), PAIRED)
    buffers = {name: buffer.pairs for name, buffer in lir.buffers().items() if buffer.pairs}
    assert buffers == {
        "q.packed.buffer": "d",
        "v.packed.buffer": "n",
        "p.bf16.buffer": "n",
    }
    loads = [s for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "load"]
    assert {e.type.pairs for e in loads if e.inputs[0] == "k"} == {"d"}


ACROSS = {"k": "[b][d][n]", "v": "[b][n][d]"}


def across() -> Subgraph:
    """Keys and values with the same axes, whose memory lies across each other."""
    text = ATTENTION.format(d=16, e=99, **{**USUAL, **ACROSS})
    return parse_subgraph(text.replace("axis e = 99\n", "").replace("[e]", "[d]"))


def test_outputs_of_one_product_are_summed_by_no_other() -> None:
    with pytest.raises(UnsupportedError, match="no order of axes"):
        lower(across(), TARGET, schedule=Schedule.OUTPUTS)


@pytest.mark.parametrize("schedule", [Schedule.ROWS, Schedule.COLUMNS])
def test_factors_that_lie_across_each_other(schedule: Schedule) -> None:
    run = launcher_of(lower(across(), TARGET, schedule=schedule), TARGET)
    for m, n in SIZES:
        given = tensors(across(), m, n)
        (want,) = interpret_subgraph(across(), [array(tensor) for tensor in given], ())
        assert_near(results(run, given, [])[0], want)


def test_products_that_the_model_does_not_round_are_not_in_pairs() -> None:
    """``weights @ v.float()``: the weights have more bits than bf16."""
    text = ATTENTION.format(d=16, e=16, **USUAL)
    text = text.replace("%o = brgemm %p %v", "%w = to_f32 %v : f32[b][n][e]\n%o = brgemm %p %w")
    lir = lower(parse_subgraph(text), PAIRED)
    fmas = [s for s, _ in lir.walk() if isinstance(s, Expression) and s.op == "fma"]
    assert {(e.output, e.attrs.get("pairs")) for e in fmas} == {("s", "d"), ("o", None)}


@pytest.mark.parametrize("name", ["sdpa", "mlp"])
def test_f32_has_no_pairs(name: str) -> None:
    from snipjit.compiler import optimize

    canonical = optimize(subgraphs.ALL[name]())
    assert lower(canonical, PAIRED) == lower(canonical, TINY)


def test_strides_of_a_buffer_of_pairs() -> None:
    """[a][n/2][m][2]: the pair lies innermost."""
    buffer = Buffer("x", "bf16", {"a": 3, "n": 4, "m": 8}, pairs="n")
    assert [buffer.stride(axis) for axis in "anm"] == [32, 8, 2]
    assert buffer.elements == 96
