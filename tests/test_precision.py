"""Kernels of bf16 and f16 against float64: little is rounded but what the model is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from snipjit.compiler import lower, optimize
from snipjit.ir.subgraph import Subgraph
from snipjit.runtime.launcher import Launcher
from tests import kernels, subgraphs
from tests.kernels import NARROW_VARIANTS, ROUNDING, ROWS, extents, native_in_turn
from tests.narrow import HALVES, narrowed, torch_type

EXAMPLES: dict[str, Callable[[], Subgraph]] = {
    "plain": lambda: subgraphs.attention(D=64),
    "dynamic head size": lambda: subgraphs.attention(),
    "D 40": lambda: subgraphs.attention(D=40),
    "D 7": lambda: subgraphs.attention(D=7),
    "padding": lambda: subgraphs.attention("padding", D=32),
    "full": lambda: subgraphs.attention("full", D=32),
    "boolean full": lambda: subgraphs.attention("full", D=32, boolean=True),
    "scaled k": lambda: subgraphs.attention(D=32, scale="k"),
    "bert": lambda: subgraphs.attention_sequence_major(D=32, mask="padding"),
    "grouped": lambda: subgraphs.attention_grouped(D=32, mask="full"),
    "sdpa causal": lambda: subgraphs.sdpa(D=32, causal=True),
    "sdpa grouped": lambda: subgraphs.sdpa("full", gqa=True, D=32),
    "two values": lambda: subgraphs.two_values(D=32),
    "weights": lambda: subgraphs.attention_weights(D=32),
    "softmax": subgraphs.softmax_alone,
    "mlp": lambda: subgraphs.mlp(D=32),
}
SIZES = [(1, 1), (3, 400), (13, 17), (31, 31), (200, 300), (77, 130)]
QUICK = ("D 7", "full", "sdpa causal")

variants = pytest.mark.parametrize(("dtype", "variant"), native_in_turn(HALVES, NARROW_VARIANTS))
dtypes = pytest.mark.parametrize("dtype", HALVES)
examples = pytest.mark.parametrize(
    ("example", "variant", "sizes"),
    [
        pytest.param(
            *case.values,
            id=case.id,
            marks=case.marks if case.values[0] in QUICK else [pytest.mark.long],
        )
        for case in extents(EXAMPLES, SIZES, NARROW_VARIANTS, whole=QUICK[:1])
    ],
)


@cache
def compiled(example: str, dtype: str, variant: str) -> Launcher:
    return kernels.launcher(narrowed(EXAMPLES[example](), dtype), *NARROW_VARIANTS[variant])


def assert_rounded_once(
    example: str, dtype: str, variant: str, tensors: list[Tensor], scalars: list[float]
) -> None:
    """Each result is next to that of the same Subgraph in float64.

    Products of pairs also round the factors that they compute.
    """
    run = compiled(example, dtype, variant)
    target, _ = NARROW_VARIANTS[variant]
    slack = 2 * ROUNDING[dtype] if dtype in target.pairs else 3e-5
    want = kernels.expected(EXAMPLES[example](), tensors, scalars)
    for got, right in zip(kernels.results(run, tensors, scalars), want, strict=True):
        size = np.abs(right[np.isfinite(right)]).max(initial=1.0)
        np.testing.assert_allclose(got, right, rtol=ROUNDING[dtype] * 1.01, atol=slack * size)


@dtypes
@examples
def test_awkward_sizes(
    example: str, dtype: str, variant: str, sizes: list[tuple[int, int]]
) -> None:
    exact = EXAMPLES[example]()
    for seed, (m, n) in enumerate(sizes):
        own = {"m": m, "n": n, "d": 19, "e": 70}
        tensors, scalars = kernels.inputs(narrowed(exact, dtype), own, seed)
        run = compiled(example, dtype, variant)
        assert run.structure.interface.outputs[0].dtype == dtype
        assert_rounded_once(example, dtype, variant, tensors, scalars)


@variants
def test_strides(dtype: str, variant: str) -> None:
    exact = EXAMPLES["grouped"]()
    tensors, scalars = kernels.inputs(narrowed(exact, dtype), {"m": 33, "n": 21})
    run = compiled("grouped", dtype, variant)
    want = kernels.results(run, tensors, scalars)
    moved = [tensor.transpose(0, 1).contiguous().transpose(0, 1) for tensor in tensors]
    strided = [tensor.repeat_interleave(2, dim=-1)[..., ::2] for tensor in tensors]
    for changed in (moved, strided):
        for got, right in zip(kernels.results(run, changed, scalars), want, strict=True):
            np.testing.assert_array_equal(got, right)


@variants
def test_hidden_rows(dtype: str, variant: str) -> None:
    """Rows of -inf: NaN in written-out softmax; partly hidden blocks recover."""
    for example in ("full", "boolean full", "weights"):
        exact = EXAMPLES[example]()
        tensors, scalars = kernels.inputs(narrowed(exact, dtype), {"m": 40, "n": 300})
        mask = tensors[3]
        hidden = False if mask.dtype == torch.bool else float("-inf")
        mask[..., :200] = hidden
        mask[:, :, 5] = hidden
        mask[0, 0, 11, 250:] = hidden
        assert_rounded_once(example, dtype, variant, tensors, scalars)


@variants
def test_special_numbers(dtype: str, variant: str) -> None:
    """NaN and infinities of a mask and of values come out as in eager."""
    for number in (float("nan"), float("inf"), float("-inf"), torch.finfo(torch_type(dtype)).min):
        for place in (2, 3):
            exact = EXAMPLES["full"]()
            tensors, scalars = kernels.inputs(narrowed(exact, dtype), {"m": 20, "n": 150})
            tensors[place][0, 0, 3, 7] = number
            tensors[place][1, 1, 2, 1] = number
            assert_rounded_once("full", dtype, variant, tensors, scalars)


@dtypes
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_same_is_multiplied_as_in_f32(example: str, dtype: str) -> None:
    """Roundings between operations keep no pass from what it does without them."""
    exact = EXAMPLES[example]()
    target = ROWS["portable"]
    lirs = [lower(optimize(g), target) for g in (exact, narrowed(exact, dtype))]
    one, two = ({e.output for e in lir.expressions() if e.op == "fma"} for lir in lirs)
    assert len(one) == len(two)


# No worse than PyTorch's own kernel.


def _error(result: Tensor, right: Tensor) -> tuple[float, float]:
    """The largest and the mean distance from float64."""
    distance = (result.double() - right).abs()
    return float(distance.max()), float(distance.mean())


def _eager(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    return torch.softmax(q @ k.mT * q.shape[-1] ** -0.5 + bias, -1) @ v


def _slopes(heads: int, rows: int, columns: int) -> Tensor:
    """The biases of ALiBi: up to the number of columns in the first head."""
    distance = torch.arange(columns) - torch.arange(rows)[:, None]
    return -(2.0 ** -torch.arange(heads)).view(-1, 1, 1) * distance.abs()


@variants
@pytest.mark.parametrize("kind", ["plain", "large scores", "alibi"])
def test_errors_are_no_larger_than_those_of_pytorch(kind: str, dtype: str, variant: str) -> None:
    run = kernels.launcher(narrowed(subgraphs.sdpa("bias", D=64), dtype), *NARROW_VARIANTS[variant])
    narrow, generator = torch_type(dtype), torch.Generator().manual_seed(0)
    for size in (1, 13, 17, 31, 77):
        q, k, v = torch.randn(3, 2, 4, size, 64, generator=generator).to(narrow)
        q = q * (60 / (q @ k.mT * 0.125).abs().max() if kind == "large scores" else 1)
        bias = _slopes(4, size, size)[None] if kind == "alibi" else torch.zeros(1, 4, size, size)
        bias = bias.to(narrow)
        q, k, v = (t.contiguous() for t in (q, k, v))
        scale = [0.125] * len(run.structure.interface.scalars)
        result = run(q, k, v, bias, *scale)
        assert isinstance(result, Tensor)
        right = _eager(q.double(), k.double(), v.double(), bias.double())
        fused = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        theirs = [_error(other, right) for other in (fused, _eager(q, k, v, bias))]
        for ours, *others in zip(_error(result, right), *theirs, strict=True):
            assert ours <= 1.1 * min(others) + 1e-9, (size, ours, others)
