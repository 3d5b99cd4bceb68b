"""Kernels without products: features lie in lanes, and rows come one after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F

from snipjit.compiler import lower, optimize
from snipjit.ir.interpret.linear import interpret
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
from snipjit.passes.linear.choose_schedule import ChooseSchedule
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.scratchpad import Scratchpads
from snipjit.target.target_machine import TargetMachine
from tests import kernels, subgraphs
from tests.guard import Side, guarded, guarded_empty, guarded_scratch, survives
from tests.kernels import ROWS, SMALL, is_native, native_in_turn, tuned
from tests.linear_examples import axis_sizes, random_tensors
from tests.stages import after

TINY = tuned(
    TargetMachine("tiny features", lanes=4),
    "tiny features",
    {Schedule.FEATURES: {"elements": 64, "columns": 16, "vectors": 2}},
)

POOLED = """
subgraph @pooled
axis x0
axis x1
axis x2
axis m0
axis m1
%x = parameter : f32[x0][x1][x2]
%m = parameter : f32[m0][m1]
%u = unsqueeze %m {dim=2} : f32[m0][m1][]
%p = mul %x %u : f32[x0][x1][x2]
%s = reduce_dims %p {monoid=sum, dims=(-2), keepdim=false} : f32[x0][x2]
%c = reduce_dims %u {monoid=sum, dims=(-2), keepdim=false} : f32[m0][]
%y = div %s %c : f32[x0][x2]
%r = result %y {order=(0, 1)} : f32[x0][x2]
"""

GROUPED = """
subgraph @grouped
axis x0
axis x1 = 3
axis x2 = 5
%x = parameter : f32[x0][x1][x2]
%s = reduce_dims %x {monoid=sum, dims=(-2, -1), keepdim=true} : f32[x0][][]
%c = sub %x %s : f32[x0][x1][x2]
%l = reduce_dims %c {monoid=max, dims=(-2, -1), keepdim=true} : f32[x0][][]
%y = div %c %l : f32[x0][x1][x2]
%r = result %y {order=(0, 1, 2)} : f32[x0][x1][x2]
%q = result %c {order=(0, 1, 2)} : f32[x0][x1][x2]
"""

EXAMPLES: dict[str, Callable[[], Subgraph]] = {
    **{f"layer norm {n}": partial(subgraphs.layer_norm, n) for n in (1, 7, 24, 31, 77)},
    "dynamic": lambda: subgraphs.layer_norm(None),
    "softmax": subgraphs.softmax_alone,
    "mean and variance": subgraphs.mean_variance,
    "chain": subgraphs.elementwise_chain,
    "pooled": lambda: parse_subgraph(POOLED),
    "grouped": lambda: parse_subgraph(GROUPED),
}
SIZES = [(1, 1), (3, 400), (13, 17), (31, 31), (77, 5), (65, 130)]
NATIVE = [name for name in SMALL if is_native(ROWS[name])]
FEATURES = Schedule.FEATURES


@cache
def compiled(example: str, row: str) -> Launcher:
    return kernels.launcher(EXAMPLES[example](), {**ROWS, **SMALL}[row], FEATURES)


@pytest.mark.parametrize(("example", "row"), native_in_turn([*EXAMPLES], SMALL))
def test_awkward_sizes(example: str, row: str) -> None:
    subgraph = EXAMPLES[example]()
    for seed, (m, n) in enumerate(SIZES):
        tensors, scalars = kernels.inputs(subgraph, {"m": m, "n": n}, seed)
        kernels.assert_right(compiled(example, row), subgraph, tensors, scalars)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_pass_keeps_the_meaning(example: str) -> None:
    subgraph, last = optimize(EXAMPLES[example]()), [""]
    calls = []
    for rows, columns in ((1, 1), (13, 31)):
        sizes = axis_sizes(subgraph, rows, columns)
        tensors = random_tensors(subgraph, sizes, seed=rows)
        scalars = [1.5] * len(subgraph.scalars)
        calls.append((tensors, scalars, interpret_subgraph(subgraph, tensors, scalars)))

    def check(step: Pass, lir: LinearIR) -> None:
        with after(step):
            verify(lir)
            text = print_linear(lir)
            assert parse_linear(text) == lir
            for tensors, scalars, results in calls if text != last[0] else ():
                for have, want in zip(interpret(lir, tensors, scalars), results, strict=True):
                    torch.testing.assert_close(have, want, rtol=1e-9, atol=1e-9)
            last[0] = text

    verify(run_pipeline(pipeline(TINY, FEATURES), subgraph, dump=check), final=True)


@pytest.mark.parametrize("example", ["layer norm 24", "dynamic", "pooled", "chain"])
def test_plans(example: str, golden: Callable[[str], None]) -> None:
    """What is whole in a task, in strips, or a part of it."""
    plans: list[str] = []

    def keep(step: Pass, lir: LinearIR) -> None:
        if isinstance(step, ChooseSchedule):
            plans.extend(line for line in print_linear(lir).splitlines() if line[:4] == "axis")

    run_pipeline(pipeline(TINY, FEATURES), optimize(EXAMPLES[example]()), dump=keep)
    golden("\n".join(plans) + "\n")


def test_final(golden: Callable[[str], None]) -> None:
    golden(print_linear(lower(optimize(subgraphs.layer_norm(24)), TINY, schedule=FEATURES)))


def test_what_has_no_product_goes_by_features() -> None:
    for name, example in EXAMPLES.items():
        (row,) = serving(optimize(example()), TINY)
        assert row.schedule is FEATURES, name


@pytest.mark.parametrize("side", ["end", pytest.param("start", marks=pytest.mark.long)])
@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("row", NATIVE[:1])
def test_between_guards(row: str, example: str, side: Side) -> None:
    subgraph, kernel = EXAMPLES[example](), compiled(example, row).structure

    def run(m: int, n: int) -> None:
        torch.set_num_threads(1)  # a forked child has none of the parent's threads
        call = Launcher(kernel, Scratchpads(guarded_scratch(side)), guarded_empty(side))
        tensors, scalars = kernels.inputs(subgraph, {"m": m, "n": n}, seed=m)
        between = [guarded(tensor, side) for tensor in tensors]
        kernels.assert_right(call, subgraph, between, scalars)

    assert [size for size in SIZES if not survives(partial(run, *size))] == []


@pytest.mark.parametrize("example", ["layer norm 31", "softmax", "pooled"])
def test_strides(example: str) -> None:
    subgraph, run = EXAMPLES[example](), compiled(example, NATIVE[0])
    tensors, scalars = kernels.inputs(subgraph, {"m": 13, "n": 21})
    turned = [tensor.mT.contiguous().mT if tensor.dim() > 1 else tensor for tensor in tensors]
    kernels.assert_right(run, subgraph, turned, scalars)
    wide = [torch.stack((tensor, tensor), -1)[..., 0] for tensor in tensors]
    kernels.assert_right(run, subgraph, wide, scalars)


def test_as_accurate_as_pytorch() -> None:
    """Far from zero, too: squares are of what is left without the mean."""
    run = compiled("layer norm 77", NATIVE[0])
    (x, r, w, b), _ = kernels.inputs(subgraphs.layer_norm(77), {"m": 31})
    x = x + 1000
    exact = F.layer_norm((x + r).double(), (77,), w.double(), b.double())
    theirs = F.layer_norm(x + r, (77,), w, b)
    have = run(x, r, w, b, 1e-5)[0]
    assert (have - exact).abs().max() <= 2 * (theirs - exact).abs().max()
