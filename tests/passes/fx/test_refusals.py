"""Near misses: each is left alone, and the reason names the op and what would be accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.passes.fx.attention_forms import qkv
from tests.passes.fx.support import assert_equal_to_eager, graph_of


def doubles(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return F.scaled_dot_product_attention(q.double(), k.double(), v.double())


def softmax_in_double(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return (q @ k.mT).softmax(-1, dtype=torch.float64).float() @ v


def two_halves(q: Tensor, k: Tensor, v: Tensor) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return F.scaled_dot_product_attention(q.bfloat16(), k.half(), v.half())


def weights_of_one_half_values_of_another(q: Tensor, k: Tensor, v: Tensor) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return (q @ k.mT).softmax(-1) @ v.half()


def integer_mask(q: Tensor, k: Tensor, v: Tensor) -> Any:
    q, k, v = q.bfloat16(), k.bfloat16(), v.bfloat16()
    return (q @ k.mT + k[:, :, None, :, 0].long()).softmax(-1) @ v


def unknown_op(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return torch.sinc(q @ k.mT).softmax(-1) @ v


def cumulative(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return (q @ k.mT).softmax(-1).cumsum(-1) @ v


def over_all(q: Tensor, k: Tensor, v: Tensor) -> Any:
    weights = (q @ k.mT).exp()
    return (weights / weights.sum()) @ v


def dropout_on(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return F.dropout((q @ k.mT).softmax(-1), 0.1, True) @ v


def sdpa_dropout(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return F.scaled_dot_product_attention(q, k, v, dropout_p=0.1)


def two_sinks(q: Tensor, k: Tensor, v: Tensor) -> Any:
    scores = torch.cat([q @ k.mT, torch.zeros(2, 4, 7, 2)], -1)
    return scores.softmax(-1)[..., :-2] @ v


def wrong_slice(q: Tensor, k: Tensor, v: Tensor) -> Any:
    scores = torch.cat([q @ k.mT, torch.zeros(2, 4, 7, 1)], -1)
    return scores.softmax(-1)[..., 1:] @ v


def sink_with_value(q: Tensor, k: Tensor, v: Tensor) -> Any:
    scores = torch.cat([q @ k.mT, torch.zeros(2, 4, 7, 1)], -1)
    return scores.softmax(-1) @ torch.cat([v, v[:, :, :1]], 2)


def mask_for_the_sink(q: Tensor, k: Tensor, v: Tensor) -> Any:
    scores = torch.cat([q @ k.mT, torch.zeros(2, 4, 7, 1)], -1) + torch.zeros(10)
    return scores.softmax(-1)[..., :-1] @ v


def einsum_that_stretches(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return torch.einsum("bhqd,bhkd->bhqk", q, k[..., :1]).softmax(-1) @ v


def router(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return F.linear(q, torch.ones(9, 8)).softmax(-1) @ v


def probabilities(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return (q @ k.mT).softmax(-1)


def mask_changed_in_place(q: Tensor, k: Tensor, v: Tensor) -> Any:
    mask = torch.zeros(2, 4, 7, 9)
    mask += q @ k.mT
    return mask.softmax(-1) @ v


def key_changed_in_between(q: Tensor, k: Tensor, v: Tensor) -> Any:
    k = k + 1
    scores = q @ k.mT
    k.mul_(2)
    return scores.softmax(-1) @ v, k


def alias_read_later(q: Tensor, k: Tensor, v: Tensor) -> Any:
    scores = q @ k.mT
    flat = scores.view(8, 7, 9)
    scores = scores.view(2, 4, 7, 9)
    scores += 1
    return scores.softmax(-1) @ v, flat.sum()


def head_too_large(q: Tensor, k: Tensor, v: Tensor) -> Any:
    q, k, v = (torch.cat([t] * 100, -1) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v)


def rounded_division(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return torch.div(q @ k.mT, 2.0, rounding_mode="floor").softmax(-1) @ v


def regrouped(q: Tensor, k: Tensor, v: Tensor) -> Any:
    scores = (q @ k.mT).reshape(2, 2, 14, 9)
    return scores.softmax(-1).reshape(2, 4, 7, 9) @ v


def sizes_that_no_operand_tells(q: Tensor, k: Tensor, v: Tensor) -> Any:
    q, k, v = (t.exp().flatten(0, 1).sin() for t in (q, k, v))
    scores = (q @ k.mT).view(2, 4, 7, 9)
    return scores.softmax(-1).view(8, 7, 9) @ v


NEAR_MISSES = [
    (sizes_that_no_operand_tells, r"splits a dim into \[q0_0 q0_1\]; accepted|no operand tells"),
    (doubles, "is float64; accepted: float32, bfloat16, float16 and bool"),
    (softmax_in_double, "is float64; accepted: float32, bfloat16, float16 and bool"),
    (two_halves, "multiplies bfloat16 and float16; accepted: factors of one element type"),
    (weights_of_one_half_values_of_another, "multiplies bfloat16 and float16; accepted"),
    (integer_mask, "is int64; accepted: float32, bfloat16, float16 and bool"),
    (unknown_op, r"ends at `sinc` \(special_sinc|ends at `sinc` \(sinc"),
    (cumulative, r"`cumsum` \(Tensor.cumsum\) is not taken; accepted"),
    (over_all, "goes over dim None; accepted: literal dims"),
    (dropout_on, "drops elements; accepted: p=0 or training=False"),
    (sdpa_dropout, "drops elements; accepted: dropout_p=0"),
    (two_sinks, r"`scores` \(cat\) adds to the scores; accepted: one column in the last dim"),
    (wrong_slice, "selects columns; accepted: all but the one that `cat` added"),
    (sink_with_value, "has a column more than .* accepted: a slice without it"),
    (mask_for_the_sink, "which has a column for the one that `cat` added; accepted: one number"),
    (einsum_that_stretches, "stretches `d`; accepted: equal sizes"),
    (router, r"\(linear\); accepted: matmul"),
    (probabilities, r"`output` \(output\) is not taken"),
    (mask_changed_in_place, "works in place and it changes .*, which was made outside"),
    (key_changed_in_between, "`mul_` changes an operand in place before"),
    (alias_read_later, "it changes `flat`, which was made outside"),
    (head_too_large, "head dimension of 800; accepted: 1 to 512"),
    (rounded_division, "`div` rounds; accepted: rounding_mode=None"),
    (regrouped, "regroups elements; accepted: splits and merges"),
]


@pytest.mark.parametrize(
    ("function", "reason"), NEAR_MISSES, ids=lambda p: getattr(p, "__name__", "")
)
def test_near_miss(function: Callable[..., Any], reason: str) -> None:
    capture = graph_of(function, *qkv(), dynamic=False)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(capture.reason)


def test_no_shapes() -> None:
    class Plain(torch.nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v)

    from snipjit.passes.fx import tokenize
    from snipjit.passes.fx.patterns.attention import Attention

    (refusal,) = tokenize(torch.fx.symbolic_trace(Plain()), [Attention()]).refusals
    assert "of rank 1; accepted" in refusal.reason or "no traced tensor" in refusal.reason


def expanded_alike(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (t[:, None].expand(-1, 3, -1, -1) for t in (q[:, 0], k[:, 0], v[:, 0]))
    return (q @ k.mT).softmax(-1) @ v


def expanded_beside_one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q = q[:, 0].unsqueeze(1).expand(-1, 3, -1, -1)
    return (q @ k[0, 0].mT).softmax(-1) @ v[0, 0]


@pytest.mark.parametrize("dynamic", [False, True])
def test_results_expanded_to_sizes_that_nothing_tells(dynamic: bool) -> None:
    capture = graph_of(expanded_alike, *qkv(), dynamic=dynamic)
    assert "is expanded to 3, and no operand tells the size" in capture.reason


def test_what_meets_a_matrix_is_expanded_outside() -> None:
    """It tells the size itself."""
    assert_equal_to_eager(graph_of(expanded_beside_one, *qkv()))


def test_results_expanded_to_sizes_that_an_operand_tells() -> None:
    def expanded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q[:, 0].unsqueeze(1).expand(-1, 4, -1, -1) @ k.mT).softmax(-1) @ v

    assert_equal_to_eager(graph_of(expanded, *qkv()))
