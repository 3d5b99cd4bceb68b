"""Kernels against float64: every example, target row and schedule; awkward sizes and numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import torch

from snipjit.ir.subgraph import Subgraph
from snipjit.runtime.launcher import Launcher
from tests import kernels, subgraphs
from tests.kernels import (
    ROWS_ONLY,
    VARIANTS,
    WHOLE_VARIANTS,
    compilable,
    extents,
    goes_by_columns,
    native_in_turn,
    natives_first,
)

EXAMPLES: dict[str, Callable[[], Subgraph]] = {
    "plain": lambda: subgraphs.attention(D=64),
    "dynamic head size": lambda: subgraphs.attention(),
    "D 40": lambda: subgraphs.attention(D=40),
    "D 7": lambda: subgraphs.attention(D=7),
    "D 1": lambda: subgraphs.attention(D=1),
    "padding": lambda: subgraphs.attention("padding", D=32),
    "bias": lambda: subgraphs.attention("bias", D=32),
    "full": lambda: subgraphs.attention("full", D=32),
    "keys": lambda: subgraphs.attention("keys", D=32),
    "boolean padding": lambda: subgraphs.attention("padding", D=32, boolean=True),
    "boolean full": lambda: subgraphs.attention("full", D=32, boolean=True),
    "divided": lambda: subgraphs.attention(D=32, scale="div"),
    "scaled q": lambda: subgraphs.attention(D=32, scale="q"),
    "scaled k": lambda: subgraphs.attention(D=32, scale="k"),
    "unscaled": lambda: subgraphs.attention(D=32, scale="none"),
    "bert": lambda: subgraphs.attention_sequence_major(D=32, mask="padding"),
    "grouped": lambda: subgraphs.attention_grouped(D=32, mask="full"),
    "sdpa": lambda: subgraphs.sdpa(D=32),
    "sdpa causal": lambda: subgraphs.sdpa(D=32, causal=True),
    "sdpa boolean": lambda: subgraphs.sdpa("full", boolean=True, D=32),
    "sdpa grouped": lambda: subgraphs.sdpa(gqa=True, D=32),
    "two values": lambda: subgraphs.two_values(D=32),
    "weights": lambda: subgraphs.attention_weights(D=32),
    "statistics": lambda: subgraphs.attention_statistics(D=32),
    "softmax": subgraphs.softmax_alone,
    "log sum exp": lambda: subgraphs.log_sum_exp_of_product(D=32),
    "log sum exp, dynamic": lambda: subgraphs.log_sum_exp_of_product(),
    "mlp": lambda: subgraphs.mlp(D=32),
    "mlp, static": lambda: subgraphs.mlp(inner=48, D=32),
    "mean and variance": subgraphs.mean_variance,
    "chain": subgraphs.elementwise_chain,
}
QUICK = ("plain", "D 7", "full", "boolean full", "grouped", "sdpa causal", "two values", "weights")
"""What every variant runs; the others take turns but for the long tests."""
SIZES = [(1, 1), (3, 400), (13, 17), (31, 31), (200, 300), (197, 5), (77, 130)]


@cache
def compiled(example: str, target: str) -> Launcher:
    return kernels.launcher(EXAMPLES[example](), *VARIANTS[target])


def check_sizes(run: Launcher, example: str, sizes: Sequence[tuple[int, int]]) -> None:
    subgraph = EXAMPLES[example]()
    for seed, (m, n) in enumerate(sizes):
        tensors, scalars = kernels.inputs(subgraph, {"m": m, "n": n, "d": 19, "e": 70}, seed)
        kernels.assert_right(run, subgraph, tensors, scalars)


@pytest.mark.parametrize(("example", "target", "sizes"), extents(EXAMPLES, SIZES, whole=QUICK))
def test_awkward_sizes(example: str, target: str, sizes: Sequence[tuple[int, int]]) -> None:
    check_sizes(compiled(example, target), example, sizes)


WHOLE = [
    pytest.param(*pair.values, marks=[*pair.marks, *([] if quick else [pytest.mark.long])])
    for quick, names in ((True, ["full"]), (False, [name for name in EXAMPLES if name != "full"]))
    for pair in compilable(EXAMPLES, names, kernels.F32_WHOLE_VARIANTS)
]


@pytest.mark.parametrize(("example", "target"), WHOLE)
def test_whole_tiles(example: str, target: str) -> None:
    """With the tiles that users get: beyond a task and beyond a block."""
    run = kernels.launcher(EXAMPLES[example](), *WHOLE_VARIANTS[target])
    check_sizes(run, example, [(1, 1), (13, 17), (200, 300)])


def test_which_have_kernels_by_columns() -> None:
    for name, example in EXAMPLES.items():
        assert goes_by_columns(example()) == (name not in ROWS_ONLY), name


@pytest.mark.parametrize(
    ("example", "target"),
    native_in_turn(
        ["plain", "bias", "grouped", "bert", "sdpa causal", "two values", "weights"], VARIANTS
    ),
)
def test_strides(example: str, target: str) -> None:
    """Transposed, sliced, expanded and innermost-strided inputs give the same result."""
    subgraph = EXAMPLES[example]()
    run = compiled(example, target)
    tensors, scalars = kernels.inputs(subgraph, {"m": 33, "n": 21})
    want = kernels.results(run, tensors, scalars)
    for change in (_transposed, _sliced, _strided):
        changed = [change(tensor) for tensor in tensors]
        assert all(torch.equal(a, b) for a, b in zip(changed, tensors, strict=True))
        for got, right in zip(kernels.results(run, changed, scalars), want, strict=True):
            np.testing.assert_array_equal(got, right)


def _transposed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.transpose(0, 1).contiguous().transpose(0, 1)


def _sliced(tensor: torch.Tensor) -> torch.Tensor:
    wide = torch.full([size + 3 for size in tensor.shape], float("nan")).to(tensor.dtype)
    part = wide[tuple(slice(1, size + 1) for size in tensor.shape)]
    part.copy_(tensor)
    return part


def _strided(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.repeat_interleave(2, dim=-1)[..., ::2]


@pytest.mark.parametrize("target", natives_first(VARIANTS))
def test_expanded_inputs(target: str) -> None:
    """Stride 0 in batch and head dims."""
    subgraph = EXAMPLES["plain"]()
    tensors, scalars = kernels.inputs(subgraph, {"m": 9, "n": 20, "b0": 1, "b1": 1})
    expanded = [tensor.expand(3, 5, -1, -1) for tensor in tensors]
    kernels.assert_right(compiled("plain", target), subgraph, expanded, scalars)
    mixed = [expanded[0], tensors[1], expanded[2]]
    kernels.assert_right(compiled("plain", target), subgraph, mixed, scalars)


@pytest.mark.parametrize("target", natives_first(VARIANTS))
@pytest.mark.parametrize(("b", "m", "n"), [(0, 3, 4), (2, 0, 4), (2, 3, 0)])
def test_empty(target: str, b: int, m: int, n: int) -> None:
    """Empty batches and rows give empty results; no keys gives what eager gives."""
    q, k, v = torch.randn(b, 2, m, 64), torch.randn(b, 2, n, 64), torch.randn(b, 2, n, 64)
    got = compiled("plain", target)(q, k, v, 0.5)
    want = torch.softmax(q @ k.transpose(-1, -2) * 0.5, dim=-1) @ v
    torch.testing.assert_close(got, want, equal_nan=True)


@pytest.mark.parametrize("target", natives_first(VARIANTS))
def test_hidden_rows(target: str) -> None:
    """Rows of -inf: NaN in written-out softmax, zeros in SDPA; partly hidden blocks recover."""
    for example in ("full", "sdpa boolean", "boolean full", "weights", "statistics"):
        subgraph = EXAMPLES[example]()
        tensors, scalars = kernels.inputs(subgraph, {"m": 40, "n": 300})
        mask = tensors[3]
        hidden = False if mask.dtype == torch.bool else float("-inf")
        mask[..., :200] = hidden  # the first block of keys is hidden for every row
        mask[:, :, 5] = hidden
        mask[0, 0, 11, 250:] = hidden
        kernels.assert_right(compiled(example, target), subgraph, tensors, scalars)


@pytest.mark.parametrize("target", natives_first(VARIANTS))
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e30, -3.4e38])
def test_special_numbers(target: str, number: float) -> None:
    """NaN, infinities and huge numbers of scores and values come out as in eager.

    The scale is applied to the rows, so that only scaled scores may overflow.
    """
    subgraph = EXAMPLES["full"]()
    for place in range(4):
        tensors, scalars = kernels.inputs(subgraph, {"m": 20, "n": 150})
        tensors[place][0, 0, 3, 7] = number
        tensors[place][1, 1, 2, 1] = number
        q, k, v, mask = tensors
        eager = torch.softmax((q * scalars[0]) @ k.transpose(-1, -2) + mask, dim=-1) @ v
        got = compiled("full", target)(*tensors, *scalars)
        torch.testing.assert_close(got, eager, equal_nan=True, rtol=1e-4, atol=1e-4)


def test_large_scores_do_not_overflow() -> None:
    subgraph = EXAMPLES["plain"]()
    tensors, _ = kernels.inputs(subgraph, {"m": 20, "n": 300})
    for target in VARIANTS:
        kernels.assert_right(compiled("plain", target), subgraph, tensors, [40.0], 2e-4)


@pytest.mark.parametrize("target", ["portable", "avx2 columns"])
def test_same_bits_for_every_number_of_threads(target: str) -> None:
    subgraph = EXAMPLES["plain"]()
    tensors, scalars = kernels.inputs(subgraph, {"b0": 3, "b1": 3, "m": 250, "n": 300})
    run = compiled("plain", target)
    threads = torch.get_num_threads()
    try:
        outputs = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            outputs.append(kernels.results(run, tensors, scalars)[0])
        assert np.array_equal(outputs[0], outputs[1])
        assert np.array_equal(outputs[0], outputs[2])
    finally:
        torch.set_num_threads(threads)
