"""Kernels that share a long run over a streamed axis among tasks: right, and the same bits."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest
import torch

from snipjit.compiler import lower
from snipjit.ir.call_args import MOST_GROUPS
from snipjit.ir.linear_ir import Loop, is_kind
from snipjit.ir.loop_nest import split_loop
from snipjit.ir.schedule import Schedule
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.scratchpad import Scratchpads
from tests import kernels, subgraphs
from tests.guard import SIDES, Side, guarded, guarded_empty, guarded_scratch, survives
from tests.kernels import TARGETS, native_in_turn, natives_first
from tests.masked_graphs import HIDDEN, LOWEST, Masked, arrays, unlimited

EXAMPLES: dict[str, Callable[[], Subgraph]] = {
    "plain": lambda: subgraphs.attention(D=64),
    "full": lambda: subgraphs.attention("full", D=32),
    "padding": lambda: subgraphs.attention("padding", D=7),
    "boolean full": lambda: subgraphs.attention("full", D=32, boolean=True),
    "sdpa boolean": lambda: subgraphs.sdpa("full", boolean=True, D=32),
    "causal": lambda: subgraphs.sdpa(D=32, causal=True),
    "grouped": lambda: subgraphs.sdpa(gqa=True, D=40),
    "two values": lambda: subgraphs.two_values(D=32),
    "statistics": lambda: subgraphs.attention_statistics(D=32),
    "log sum exp": lambda: subgraphs.log_sum_exp_of_product(D=32),
    "mlp": lambda: subgraphs.mlp(D=32),
    "dynamic": lambda: subgraphs.attention(),
}
LENGTHS = (0, 1, 511, 512, 513, 1024, 3000)
CHUNK = 512

OWN_ROWS = """
subgraph @g
axis b
axis m
axis n
axis d = 8
axis e = 12
%q = parameter : f32[b][m][d]
%k = parameter : f32[b][m][n][d]
%v = parameter : f32[b][n][e]
%0 = brgemm %q %k {over=(d)} : f32[b][m][n]
%1 = reduce %0 {monoid=larger, over=(n)} : f32[b][m]
%2 = sub %0 %1 : f32[b][m][n]
%3 = exp %2 : f32[b][m][n]
%4 = reduce %3 {monoid=sum, over=(n)} : f32[b][m]
%5 = brgemm %3 %v {over=(n)} : f32[b][m][e]
%y = result %5 {order=(0, 1, 2)} : f32[b][m][e]
%z = result %4 {order=(0, 1)} : f32[b][m]
"""
"""No two rows share what is streamed: a task has one, and its accumulators are registers."""


@cache
def compiled(example: str, target: str) -> Launcher:
    return kernels.launcher(EXAMPLES[example](), TARGETS[target], Schedule.COLUMNS)


def chunks(run: Launcher, tensors: list[torch.Tensor]) -> int:
    """How many chunks a call with these inputs has."""
    shapes, strides = [t.shape for t in tensors], [t.stride() for t in tensors]
    kernel, config = run.structure.configure(shapes, strides)
    recipe = kernel.recipe
    assert recipe.split is not None
    return config.slots[recipe.fields.index(f"blocks.{recipe.split[0]}")]


@pytest.mark.parametrize(("example", "target"), native_in_turn([*EXAMPLES], TARGETS))
def test_lengths(example: str, target: str) -> None:
    subgraph, run = EXAMPLES[example](), compiled(example, target)
    for n in LENGTHS:
        heads, m = 1 + n % 3, (1, 2, 11)[n % 3]
        sizes = {"b0": 1, "b1": heads, "m": m, "n": n, "f": n, "d": 16, "e": 9}
        tensors, scalars = kernels.inputs(subgraph, sizes, seed=n)
        kernels.assert_right(run, subgraph, tensors, scalars)


HEADS = [(1, 1), (1, 8), (2, 1), (3, 2), (40, 1), (70, 1)]


@pytest.mark.parametrize(("size", "target"), native_in_turn(HEADS, TARGETS))
def test_heads(size: tuple[int, int], target: str) -> None:
    """One key head for all, for groups of heads, for each; from many groups on nothing is split."""
    heads, group = size
    run = compiled("grouped", target)
    q, k, v = torch.randn(1, heads * group, 2, 40), *torch.randn(2, 1, heads, 1500, 40)
    got = run(q, k, v, 0.3)
    assert chunks(run, [q, k, v]) == (1 if heads > MOST_GROUPS else 2)
    assert isinstance(got, torch.Tensor)
    scores = q.double() @ k.double().repeat_interleave(group, 1).mT * 0.3
    want = scores.softmax(-1) @ v.double().repeat_interleave(group, 1)
    torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", natives_first(TARGETS))
def test_hidden_chunks_and_rows(target: str) -> None:
    for example in ("full", "boolean full", "sdpa boolean", "statistics"):
        subgraph = EXAMPLES[example]()
        tensors, scalars = kernels.inputs(subgraph, {"b0": 1, "b1": 2, "m": 7, "n": 4 * CHUNK})
        mask = tensors[3]
        hidden = False if mask.dtype == torch.bool else float("-inf")
        assert chunks(compiled(example, target), tensors) == 4
        mask[:, :, 1, :CHUNK] = hidden
        mask[:, :, 2, CHUNK : 3 * CHUNK] = hidden
        mask[:, :, 3, -CHUNK:] = hidden
        mask[:, :, 4, :-1] = hidden
        mask[:, :, 5] = hidden
        mask[0, 0, 6, 1:] = hidden
        kernels.assert_right(compiled(example, target), subgraph, tensors, scalars)


NUMBERS = [float("nan"), float("inf"), float("-inf"), 1e30, -3.4e38]


@pytest.mark.parametrize(("number", "target"), native_in_turn(NUMBERS, TARGETS))
def test_special_numbers(target: str, number: float) -> None:
    subgraph, run = EXAMPLES["full"](), compiled("full", target)
    for place in range(4):
        for row in (3, CHUNK + 3, 2 * CHUNK - 1):
            tensors, scalars = kernels.inputs(subgraph, {"b0": 1, "b1": 2, "m": 4, "n": 2 * CHUNK})
            if place in (1, 2):
                tensors[place][0, 0, row, 7] = number
            else:
                tensors[place][0, 0, 3, row % tensors[place].shape[3]] = number
            q, k, v, mask = tensors
            eager = torch.softmax((q * scalars[0]) @ k.transpose(-1, -2) + mask, dim=-1) @ v
            got = run(*tensors, *scalars)
            torch.testing.assert_close(got, eager, equal_nan=True, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", natives_first(TARGETS))
def test_accumulators_in_registers(target: str) -> None:
    canonical = parse_subgraph(OWN_ROWS)
    lir = lower(canonical, TARGETS[target], schedule=Schedule.COLUMNS)
    run = kernels.launcher_of(lir, TARGETS[target])
    kernel = run.structure.kernel(run.structure.selection.general)
    assert kernel is not None
    assert kernel.recipe.split is not None
    for n in (1, 40, 513, 1100, 3000):
        q, k, v = torch.randn(2, 3, 8), torch.randn(2, 3, n, 8), torch.randn(2, n, 12)
        wanted = kernels.expected(canonical, [q, k, v], [])
        for got, want in zip(kernels.results(run, [q, k, v], []), wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


HIDING: list[tuple[str, str, float | None, bool]] = [
    ("where", "safe softmax", float("-inf"), False),
    ("where", "softmax", float("-inf"), True),
    ("where", "safe softmax", None, True),
    ("add two", "softmax", None, True),
    ("mul", "safe softmax", LOWEST, True),
]
"""How scores are hidden, what follows, the fill, and whether a loop may be tried again."""


@pytest.mark.parametrize(("mask", "target"), native_in_turn(HIDING, TARGETS))
def test_hidden_parts_of_chunks(mask: tuple[str, str, float | None, bool], target: str) -> None:
    """Windows and padding; a loop whose limits may turn out to be wrong stays whole."""
    form, end, fill, tried = mask
    chunks = {Schedule.COLUMNS: {"chunk": 128}}
    row = kernels.tuned(TARGETS[target], f"{target}, short chunks", chunks)
    random = np.random.default_rng(0)
    case = Masked("padded window", form, end, fill)
    lir = lower(case.subgraph(), row, schedule=Schedule.COLUMNS)
    loops = [s for s, _ in lir.walk() if isinstance(s, Loop)]
    assert any(loop.limits for loop in loops)
    assert any(is_kind(loop, "retry") for loop in loops) == tried
    assert (split_loop(lir) is None) == tried
    run = kernels.launcher_of(lir, row)
    whole = kernels.launcher_of(unlimited(case.subgraph(), row, Schedule.ROWS), row)
    for m, n in ((1, 130), (5, 300), (8, 900), (900, 900)):
        for hidden in HIDDEN:
            given = [torch.from_numpy(array) for array in arrays(m, n, hidden)]
            tensors = [t.float() if t.is_floating_point() else t for t in given]
            for wide, low in itertools.product((4.0, 400.0), (LOWEST, float("-inf"))):
                scalars = case.scalars(float(random.integers(n)), wide, low)
                found, want = (kernels.results(f, tensors, scalars) for f in (run, whole))
                for one, two in zip(found, want, strict=True):
                    np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-5)


def test_same_bits_for_every_number_of_threads() -> None:
    subgraph, run = EXAMPLES["two values"](), compiled("two values", "avx2")
    tensors, scalars = kernels.inputs(subgraph, {"b0": 1, "b1": 2, "m": 3, "n": 9000})
    assert chunks(run, tensors) == 17
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = kernels.results(run, tensors, scalars)
        for count in (2, 3) * 20:
            torch.set_num_threads(count)
            for one, two in zip(alone, kernels.results(run, tensors, scalars), strict=True):
                assert np.array_equal(one, two)
    finally:
        torch.set_num_threads(threads)


def test_calls_that_overlap() -> None:
    """Groups of calls under way at the same time do not count one another's chunks."""
    run, wrong = compiled("plain", "avx2"), []
    inputs = [[torch.randn(1, 2, 1, 64), *torch.randn(2, 1, 2, n, 64)] for n in (600, 1100, 3000)]
    wanted = [kernels.results(run, tensors, [0.2]) for tensors in inputs]

    def work(first: int) -> None:
        for number in range(first, first + 60):
            which = number % len(inputs)
            if not np.array_equal(kernels.results(run, inputs[which], [0.2]), wanted[which]):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(first,)) for first in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_forked_child() -> None:
    run = compiled("plain", "avx2")
    tensors = [torch.randn(1, 1, 1, 64), *torch.randn(2, 1, 1, 3000, 64)]
    want = kernels.results(run, tensors, [0.2])

    def call() -> None:
        for _ in range(3):
            assert np.array_equal(kernels.results(run, tensors, [0.2]), want)

    assert survives(call)


def _between_guards(example: str, target: str, m: int, n: int, side: Side) -> None:
    torch.set_num_threads(1)  # a forked child has none of the parent's threads
    subgraph = EXAMPLES[example]()
    structure = compiled(example, target).structure
    run = Launcher(structure, Scratchpads(guarded_scratch(side)), guarded_empty(side))
    tensors, scalars = kernels.inputs(subgraph, {"b0": 1, "b1": 3, "m": m, "n": n}, seed=m)
    between = [guarded(tensor, side) for tensor in tensors]
    kernels.assert_right(run, subgraph, between, scalars)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("example", "target"), native_in_turn(["padding", "two values", "statistics"], TARGETS)
)
def test_no_byte_outside(example: str, target: str, side: Side) -> None:
    compiled(example, target)
    sizes = [(1, 513), (1, 1024), (9, 1100), (3, 3000)]
    died = [
        size
        for size in sizes
        if not survives(partial(_between_guards, example, target, *size, side))
    ]
    assert not died
