"""Products in tile registers, emulated wherever the host has none."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from snipjit.compiler import emit, lower, optimize
from snipjit.ir.interpret.subgraph import interpret as interpret_subgraph
from snipjit.passes.linear.tile_products import products_in_tiles
from snipjit.runtime import engine
from snipjit.runtime.launcher import Launcher
from snipjit.target.target_machine import TARGETS
from tests import kernels
from tests.emulated import Emulated
from tests.kernels import array, launcher_of, results
from tests.narrow import narrowed
from tests.test_pairs import across, assert_near, attention, tensors
from tests.test_precision import EXAMPLES

TARGET = next(row for row in TARGETS if row.name == "amx-bf16")
CASES = [
    *((name, 64, 64) for name in ("usual", "keys innermost", "value pairs innermost")),
    ("merged heads", 32, 48),
    ("usual", 40, 40),
    ("usual", 96, 7),
    ("usual", 2, 80),
    ("usual", 13, 16),
    ("keys innermost", 40, 24),
    ("rows and pairs strided", 32, 16),
]
SIZES = ((1, 1), (3, 2), (17, 31), (70, 77), (33, 130), (200, 257))

pytestmark = pytest.mark.target("amx-bf16")


@cache
def compiled(layout: str, d: int, e: int) -> Launcher:
    return launcher_of(lower(attention(layout, d, e), TARGET), TARGET)


def check_products(run: Launcher) -> None:
    """Where the registers are emulated, some product was made in them."""
    assert not isinstance(run, Emulated) or run.amx.executed["tdpbf16ps"] > 0


@pytest.mark.parametrize(("layout", "d", "e"), CASES)
def test_kernels_agree_with_float64(layout: str, d: int, e: int) -> None:
    """Whatever the scratchpad held before."""
    subgraph, run = attention(layout, d, e), compiled(layout, d, e)
    run(*(torch.full_like(tensor, float("nan")) for tensor in tensors(subgraph, 200, 257)))
    for m, n in SIZES:
        given = tensors(subgraph, m, n)
        (want,) = interpret_subgraph(subgraph, [array(tensor) for tensor in given], ())
        assert_near(results(run, given, [])[0], want)
    check_products(run)


@pytest.mark.parametrize("n", [1, 7, 17, 40, 130])
def test_static_keys(n: int) -> None:
    """Buffers hold whole registers, however many keys there are."""
    subgraph = attention("usual", 40, 24, n)
    run = launcher_of(lower(subgraph, TARGET), TARGET)
    for m in (1, 33):
        given = tensors(subgraph, m, n)
        (want,) = interpret_subgraph(subgraph, [array(tensor) for tensor in given], ())
        assert_near(results(run, given, [])[0], want)


def test_factors_that_lie_across_each_other() -> None:
    """The keys are packed, and with them the values cannot be: their product is in vectors."""
    lir = lower(across(), TARGET)
    assert {e.output for e in products_in_tiles(lir)} == {"s"}
    run = launcher_of(lir, TARGET)
    for m, n in SIZES:
        given = tensors(across(), m, n)
        (want,) = interpret_subgraph(across(), [array(tensor) for tensor in given], ())
        assert_near(results(run, given, [])[0], want)


def test_llvm_knows_the_instructions() -> None:
    text = engine.assembly(emit(lower(attention("usual", 64, 64), TARGET), TARGET), TARGET)
    for name in ("ldtilecfg", "tilezero", "tileloadd", "tdpbf16ps", "tilestored", "tilerelease"):
        assert f"\t{name}" in text


@pytest.mark.parametrize("example", ["padding", "boolean full", "sdpa causal", "grouped", "mlp"])
def test_attention_in_tiles(example: str) -> None:
    """Masks, limits and groups, for blocks of which they leave any part."""
    exact = EXAMPLES[example]()
    narrow = narrowed(exact, "bf16")
    run = launcher_of(lower(optimize(narrow), TARGET), TARGET)
    for seed, (m, n) in enumerate([(1, 1), (13, 17), (45, 150), (77, 300)]):
        given, scalars = kernels.inputs(narrow, {"m": m, "n": n, "d": 32, "e": 64}, seed)
        for got, want in zip(
            results(run, given, scalars), kernels.expected(exact, given, scalars), strict=True
        ):
            assert_near(got, want)
    check_products(run)
