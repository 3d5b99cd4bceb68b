"""The interpreter is the oracle of all passes, so it is compared with eager PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from snipjit.errors import InputError
from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.subgraph import parse_subgraph
from snipjit.passes.base import run_pipeline
from snipjit.passes.graph import PIPELINE
from tests.subgraph_calls import SIZES, random_call
from tests.subgraphs import (
    attention,
    attention_grouped,
    attention_sequence_major,
    elementwise_chain,
    log_sum_exp_of_product,
    mean_variance,
    mlp,
    sdpa,
    softmax_alone,
)

Eager = Callable[..., torch.Tensor]


def _compare(subgraph: Subgraph, eager: Eager, sizes: dict[str, int]) -> None:
    """Both forms against PyTorch in float64, equal NaN included."""
    tensors, scalars = random_call(subgraph, sizes)
    expected = eager(*map(torch.from_numpy, tensors), *scalars).numpy()
    for form in (subgraph, run_pipeline(PIPELINE, subgraph)):
        found = interpret(form, tensors, scalars)[0]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)


every_size = pytest.mark.parametrize("sizes", SIZES, ids=str)


@every_size
@pytest.mark.parametrize(
    ("mask", "boolean", "causal", "gqa"),
    [
        (None, False, False, False),
        (None, False, True, True),
        ("full", True, False, False),
        ("full", False, False, True),
        ("padding", True, False, False),
    ],
)
def test_sdpa(
    mask: str | None, boolean: bool, causal: bool, gqa: bool, sizes: dict[str, int]
) -> None:
    def eager(*args: Any) -> torch.Tensor:
        *tensors, scale = args
        options: dict[str, Any] = {"is_causal": causal, "scale": scale, "enable_gqa": gqa}
        return F.scaled_dot_product_attention(*tensors, **options)

    _compare(sdpa(mask, boolean, causal, gqa, D=8), eager, sizes)


@every_size
def test_attention_of_the_bert_form(sizes: dict[str, int]) -> None:
    def eager(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, root: float
    ) -> torch.Tensor:
        q, k, v = (x.reshape(*x.shape[:2], -1, 8).transpose(1, 2) for x in (q, k, v))
        p = (q @ k.transpose(-1, -2) / root + mask).softmax(-1)
        return (p @ v).transpose(1, 2).flatten(2)

    _compare(attention_sequence_major(8, "padding"), eager, sizes)


@every_size
def test_written_out_masks_give_nan_for_hidden_rows(sizes: dict[str, int]) -> None:
    subgraph = attention("keys", boolean=True)
    tensors, scalars = random_call(subgraph, sizes)
    tensors[3][...] = False
    q, k, v, mask = map(torch.from_numpy, tensors)
    s = torch.where(mask, q @ k.transpose(-1, -2) * scalars[0], float("-inf"))
    expected = (s.softmax(-1) @ v).numpy()
    assert np.isnan(expected).all()
    for form in (subgraph, run_pipeline(PIPELINE, subgraph)):
        np.testing.assert_array_equal(interpret(form, tensors, scalars)[0], expected)


@every_size
def test_grouped_heads(sizes: dict[str, int]) -> None:
    def eager(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, scale: float
    ) -> torch.Tensor:
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        return ((q @ k.transpose(2, 3) * scale + mask).softmax(-1) @ v).transpose(1, 2)

    _compare(attention_grouped(8, "full"), eager, sizes)


@every_size
@pytest.mark.parametrize(
    ("subgraph", "eager"),
    [
        (softmax_alone(), lambda x: x.softmax(-1)),
        (log_sum_exp_of_product(), lambda x, w: (x @ w.T).logsumexp(-1)),
        (mlp(), lambda x, w, u: F.gelu(x @ w) @ u),
        (mean_variance(), lambda x, count: x.sum(-1) / count),
        (elementwise_chain(), lambda x, y, scale: torch.tanh(x * scale) + y),
    ],
    ids=lambda value: value.name if isinstance(value, Subgraph) else "",
)
def test_other_examples(subgraph: Subgraph, eager: Eager, sizes: dict[str, int]) -> None:
    _compare(subgraph, eager, sizes)


def test_a_batch_of_one_broadcasts_in_both_forms() -> None:
    q, k = np.ones((3, 2, 4, 8)), np.ones((1, 2, 5, 8))
    for form in (attention(), run_pipeline(PIPELINE, attention())):
        assert interpret(form, [q, k, k], [1.0])[0].shape == (3, 2, 4, 8)


def test_f32_is_computed_in_the_given_type() -> None:
    subgraph = parse_subgraph("""
        subgraph @g
        axis m
        %x = parameter : f32[m]
        %y = to_f32 %x : f32[m]
        %r = result %y {order=(0)} : f32[m]
    """)
    third = np.array([1 / 3])
    assert interpret(subgraph, [third])[0][0] == 1 / 3
    assert interpret(subgraph, [third], dtype=np.float32)[0].dtype == np.float32


def test_axes_align_by_name_when_no_positional_operation_is_left() -> None:
    subgraph = parse_subgraph("""
        subgraph @g
        axis m
        axis n
        %x = parameter : f32[n][m]
        %y = parameter : f32[m]
        %z = add %x %y : f32[m][n]
        %r = result %z {order=(0, 1)} : f32[m][n]
    """)
    x, y = np.arange(6.0).reshape(2, 3), np.arange(3.0)
    np.testing.assert_array_equal(interpret(subgraph, [x, y])[0], (x + y).T)


@pytest.mark.parametrize(
    ("shapes", "scalars"),
    [
        ([(2, 2, 3, 8), (2, 2, 5, 8)], [1.0]),
        ([(2, 2, 3, 8)] * 3, []),
        ([(2, 2, 3, 8), (2, 2, 5, 8), (2, 2, 5, 9)], [1.0]),
        ([(2, 3, 8), (2, 2, 5, 8), (2, 2, 5, 8)], [1.0]),
    ],
)
def test_inputs_that_do_not_fit(shapes: list[tuple[int, ...]], scalars: list[float]) -> None:
    with pytest.raises(InputError):
        interpret(attention(D=8), [np.ones(shape) for shape in shapes], scalars)
