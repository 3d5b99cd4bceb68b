"""Probabilities and scores that are read outside their attention, and several value products."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import snipjit
from tests.passes.fx.attention_forms import Model
from tests.passes.fx.support import (
    Capture,
    assert_equal_to_eager,
    exported,
    graph_of,
    substitute_all,
)

Results = tuple[Tensor, ...]


def probabilities(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    return (q @ k.mT * 0.3 + mask).softmax(-1)


def weights(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    p = F.dropout(probabilities(q, k, mask), 0.1, False).to(q.dtype)
    return (p @ v).transpose(1, 2).contiguous(), p


def mean_over_heads(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    p = probabilities(q, k, mask)
    return p @ v, p.mean(1)


def sum_over_queries(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    p = probabilities(q, k, mask)
    spread = p.sum(-2)
    return p @ v, spread


def raw_scores(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    scores = q @ k.mT
    return (scores * 0.3 + mask).softmax(-1) @ v, scores.sin(), scores.amax(-1)


def scores_and_weights(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    scores = q @ k.mT + mask
    p = scores.softmax(-1)
    return p @ v, scores.logsumexp(-1), p


def row_statistics(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    scores = q @ k.mT * 0.3 + mask
    p = scores.softmax(-1)
    entropy = -(p * (p + 1e-9).log()).sum(-1)
    return p @ v, scores.logsumexp(-1, keepdim=True), p.max(-1)[0], scores.amin(-1), entropy


def statistic_with_a_late_operand(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    p = probabilities(q, k, mask)
    o = p @ v
    return o, (p * o.sum(-1, keepdim=True).cumsum(-1)).sum(-1)


def best_keys(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    p = probabilities(q, k, mask)
    best = p.max(-1)
    return p @ v, best[0], best[1].float()


def scores_changed_in_place(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    scores = q @ k.mT
    scores.mul_(0.3)
    scores.add_(mask)
    return scores.softmax(-1) @ v, scores


def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    scores = q @ k.mT + mask
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    total = e.sum(-1, keepdim=True)
    p = e / total
    return p @ v, p, total


def folded(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    (b, h, m, _), n = q.shape, k.shape[2]
    scores = torch.bmm(q.flatten(0, 1), k.flatten(0, 1).mT).view(b, h, m, n) + mask
    p = scores.view(b * h, m, n).softmax(-1)
    returned = p.view(b, h, m, n)
    return torch.bmm(returned.view(b * h, m, n), v.flatten(0, 1)), returned


def value_and_views(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    p = probabilities(q, k, mask)
    flat = p.flatten(0, 1)
    return torch.bmm(flat, v.flatten(0, 1)), p, flat


def visible(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    scores = q @ k.mT + mask
    keep = scores > -1
    return scores.masked_fill(~keep, -1e9).softmax(-1) @ v, keep


def two_values(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    p = probabilities(q, k, mask)
    return (p @ v).transpose(1, 2), p @ v.sin()


def two_values_and_weights(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    p = probabilities(q, k, mask)
    return p @ v, p @ v.sin(), p


def columns(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
    p = probabilities(q, k, mask)
    return p @ v, p.mT @ q


FORMS: list[tuple[Callable[..., Results], int]] = [
    (weights, 2),
    (mean_over_heads, 2),
    (sum_over_queries, 2),
    (raw_scores, 3),
    (scores_and_weights, 3),
    (row_statistics, 5),
    (statistic_with_a_late_operand, 2),
    (best_keys, 2),
    (scores_changed_in_place, 2),
    (written_out, 3),
    (folded, 2),
    (value_and_views, 2),
    (visible, 2),
    (two_values, 2),
    (two_values_and_weights, 3),
    (columns, 2),
]
"""Each with the number of results of its one kernel."""


def inputs(b: int = 2, m: int = 7, n: int = 9) -> Results:
    """Queries, keys, values and a mask that hides some keys, and one query's keys all."""
    generator = torch.Generator().manual_seed(b + m + n)
    q, k, v = (torch.randn(b, 3, size, 8, generator=generator) for size in (m, n, n))
    mask = torch.randn(b, 1, m, n, generator=generator)
    mask[mask > 0.8] = float("-inf")
    mask[0, 0, m // 2] = float("-inf")
    return q, k, v, mask


def _assert_same(got: Any, want: Any) -> None:
    torch.testing.assert_close(tuple(got), tuple(want), equal_nan=True, atol=1e-5, rtol=1e-4)
    assert [of.stride() for of in got] == [of.stride() for of in want]


@pytest.mark.parametrize(("form", "results"), FORMS, ids=lambda of: getattr(of, "__name__", ""))
@pytest.mark.parametrize("level", ["dynamo", pytest.param("export", marks=pytest.mark.long)])
def test_results(form: Callable[..., Results], results: int, level: str) -> None:
    arguments = inputs()
    if level == "dynamo":
        capture = graph_of(form, *arguments)
    else:
        capture = exported(Model(form), arguments)
    assert len(capture.candidate.outputs) == results
    assert_equal_to_eager(capture)
    substitute_all(capture)
    _assert_same(capture.gm(*capture.arguments), form(*arguments))
    assert not any("softmax" in node.name for node in capture.gm.graph.nodes)


@pytest.mark.parametrize("rest", ["eager", "inductor"])
def test_kernels(rest: str) -> None:
    """Rows hidden by -inf give NaN as in eager; sizes and strides change, the graph does not."""
    snipjit.reset_stats()
    torch._dynamo.reset()
    run = torch.compile(
        two_values_and_weights, backend="snipjit", dynamic=True, options={"rest": rest}
    )
    with torch.no_grad():
        for sizes in ((2, 7, 9), (3, 33, 50), (2, 5, 130)):
            q, k, v, mask = inputs(*sizes)
            q, k = q.transpose(1, 2).contiguous().transpose(1, 2), k.repeat(2, 1, 1, 1)[::2]
            arguments = q, k, v, mask
            _assert_same(run(*arguments), two_values_and_weights(*arguments))
    assert snipjit.stats().subgraphs == 1
    assert snipjit.stats().kernel_calls == 3


def _capture(form: Callable[..., Any], *arguments: Tensor) -> Capture:
    capture = graph_of(form, *arguments)
    assert_equal_to_eager(capture)
    expected = form(*(argument.clone() for argument in arguments))
    substitute_all(capture)
    _assert_same(capture.gm(*capture.arguments), expected)
    return capture


def test_shared_operands() -> None:
    def shared(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
        keys = k.transpose(2, 3)
        first = (q @ keys + mask).softmax(-1) @ v
        return first, (q.sin() @ keys + mask).softmax(-1) @ v

    tokens = _capture(shared, *inputs()).tokens
    assert [len(candidate.outputs) for candidate in tokens.candidates] == [1, 1]


def test_scores_passed_on() -> None:
    """Residual scores: one attention's extra result is the next one's side input."""

    def residual(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
        scores = q @ k.mT + mask
        o = scores.softmax(-1) @ v
        return (o @ k.mT + scores).softmax(-1) @ v, o

    tokens = _capture(residual, *inputs()).tokens
    assert [len(candidate.outputs) for candidate in tokens.candidates] == [2, 1]


def test_products_of_probabilities() -> None:
    """A later softmax whose probabilities an earlier one multiplies: each is written whole."""

    def rollout(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Results:
        first, second = (q @ k.mT + mask).softmax(-1), (k @ k.mT).softmax(-1)
        return first @ v, second @ v, first @ second

    tokens = _capture(rollout, *inputs()).tokens
    assert [len(candidate.outputs) for candidate in tokens.candidates] == [2, 2]


def test_a_product_that_another_follows() -> None:
    def smoothed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        p = (q @ k.mT).softmax(-1)
        return p @ (p @ v)

    q, _, v, _ = inputs(2, 9, 9)
    capture = graph_of(smoothed, q, q.sin(), v)
    assert len(capture.candidate.outputs) == 2
    assert_equal_to_eager(capture)


def changed_later(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Any:
    p = probabilities(q, k, mask)
    o = p @ v
    return o, p.mul_(2)


def read_before_an_operand(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Any:
    p = probabilities(q, k, mask)
    seen = p.sum(-2)
    return p @ torch.cumsum(v, -1), seen


def operand_from_a_result(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Any:
    p = probabilities(q, k, mask)
    return p @ (v + torch.cumsum(p, -1).mean())


def operand_changed_after_reader(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Any:
    v = v + 1
    part, moved = v[0], v.transpose(0, 1).transpose(0, 1)
    p = probabilities(q, k, mask)
    seen = p.sum(-2)
    part.zero_()
    return p @ moved, seen


def stretched(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Any:
    p = (q[:1] @ k[:1].mT).softmax(-1)
    return p @ v, p


NEAR_MISSES = [
    (changed_later, r"`mul_` changes `p` .* in place, .*; accepted: extra results that nothing"),
    (read_before_an_operand, "reads a result before `cumsum` is made; accepted: readers after"),
    (operand_from_a_result, "reads a result before|multiplies two values|made"),
    (operand_changed_after_reader, "`zero_` changes an operand in place"),
    (stretched, "has a dim of size 1 that meets a longer one later; accepted: results of full"),
]


@pytest.mark.parametrize(
    ("function", "reason"), NEAR_MISSES, ids=lambda of: getattr(of, "__name__", "")
)
def test_near_miss(function: Callable[..., Any], reason: str) -> None:
    capture = graph_of(function, *inputs())
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(capture.reason)


class _Weights(torch.nn.Module):
    """A model's states and the attention weights of all its layers."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(ids, attention_mask=mask, output_attentions=True)
        return (outputs.last_hidden_state, *outputs.attentions)


def test_bert_returns_its_weights() -> None:
    """``output_attentions``: a kernel a layer, called by Dynamo and by an exported program."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 4}
    config = transformers.BertConfig(vocab_size=50, num_hidden_layers=2, **sizes)
    config._attn_implementation = "eager"
    model = _Weights(transformers.BertModel(config).eval())
    ids = torch.arange(22).view(2, 11)
    mask = torch.ones(2, 11, dtype=torch.long)
    mask[0, 6:] = 0
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = model(ids, mask)
        snipjit.reset_stats()
        torch._dynamo.reset()
        got = torch.compile(model, backend="snipjit", dynamic=True)(ids, mask)
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
        assert snipjit.stats().subgraphs == 2
        program = snipjit.compile(model, (ids, mask))
        torch.testing.assert_close(program(ids, mask), want, atol=1e-5, rtol=1e-4)
    assert snipjit.stats().subgraphs == 4
    assert snipjit.stats().kernels_compiled <= 2
