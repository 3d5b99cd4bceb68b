"""Masks as models write them: the limits that follow, in the printed LinearIR, and the numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import snipjit
from snipjit.compiler import lower, optimize
from snipjit.ir.text.linear import print_linear
from snipjit.target.target_machine import PORTABLE
from tests.passes.fx.support import graph_of

LOWEST = torch.finfo(torch.float32).min
FORMS: dict[str, tuple[Callable[..., Tensor], str]] = {}


def form(limits: str) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Enter a form with the limits of its loop over the keys; ``?``: if a test says so."""

    def enter(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        FORMS[function.__name__] = function, limits
        return function

    return enter


def visible(pad: Tensor, rows: int, keys: int, window: int | None = None) -> Tensor:
    """The mask of transformers: ranges compared, and the padding looked up."""
    row = torch.arange(rows)[None, None, :, None] + (keys - rows)
    key = torch.arange(keys)[None, None, None, :]
    batch = torch.arange(pad.shape[0])[:, None, None, None]
    mask = row.new_ones((), dtype=torch.bool) & (key <= row)
    if window is not None:
        mask = mask & (key > row - window)
    return (mask & pad[batch, key]).expand(pad.shape[0], -1, rows, keys)


def scores(q: Tensor, k: Tensor) -> Tensor:
    return torch.matmul(q, k.transpose(2, 3)) * 0.25


def filled(mask: Tensor) -> Tensor:
    return torch.where(mask, torch.tensor(0.0), LOWEST)


@form("n upto m + 0 ?")
def eager(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    mask = filled(visible(pad, q.shape[2], k.shape[2]))
    return F.softmax(scores(q, k) + mask, dim=-1, dtype=torch.float32).to(q.dtype) @ v


@form("n from m - 4 ? and n upto m + 0 ?")
def gemma2(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    capped = torch.tanh(scores(q, k) / 50.0) * 50.0
    mask = filled(visible(pad, q.shape[2], k.shape[2], 5))[:, :, :, : k.shape[-2]]
    return F.softmax(capped + mask, dim=-1) @ v


@form("n from m - 4 and n upto m + 0")
def fused(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    mask = visible(pad, q.shape[2], k.shape[2], 5)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@form("n upto m + 0 ?")
def triu_infinite(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    mask = torch.triu(torch.ones(q.shape[2], k.shape[2], dtype=torch.bool), diagonal=1)
    return scores(q, k).masked_fill(mask, float("-inf")).softmax(-1) @ v


@form("n upto m + 0 ?")
def tril_finite(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    mask = torch.tril(torch.ones(q.shape[2], k.shape[2]))
    return scores(q, k).masked_fill(mask == 0, -1e9).softmax(-1) @ v


@form("n upto m + 0 ?")
def triu_added(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    mask = torch.triu(torch.full((q.shape[2], k.shape[2]), LOWEST), diagonal=1)
    mask = mask * (torch.arange(k.shape[2]) > torch.arange(q.shape[2]).reshape(-1, 1))
    return (scores(q, k) + mask[None, None]).softmax(-1) @ v


@form("n upto m + 0 ?")
def inverted(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    hidden = 1.0 - visible(pad, q.shape[2], k.shape[2]).to(torch.float32)
    return (scores(q, k) + hidden.masked_fill(hidden.to(torch.bool), LOWEST)).softmax(-1) @ v


@form("n upto m + 0 ?")
def padding_apart(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    rows, keys = torch.arange(q.shape[2]), torch.arange(k.shape[2])
    causal = torch.where(keys[None, :] <= rows[:, None], 0.0, LOWEST)
    padding = (1.0 - pad[:, None, None, :].float()) * LOWEST
    return (scores(q, k) + causal + padding).softmax(-1) @ v


@form("n upto m + 0 ?")
def alibi(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    rows, keys = torch.arange(q.shape[2]), torch.arange(k.shape[2])
    slopes = torch.tensor([0.5, 0.25]).view(1, 2, 1, 1)
    biased = scores(q, k) + slopes * (keys[None, :] - rows[:, None])
    return biased.masked_fill(keys[None, :] > rows[:, None], LOWEST).softmax(-1) @ v


@form("n upto m + 0 ?")
def clamped(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    masked = scores(q, k) + filled(visible(pad, q.shape[2], k.shape[2]))
    return torch.max(masked, torch.tensor(LOWEST)).softmax(-1) @ v


@form("n upto m + 0 ?")
def mask_as_condition(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    mask = filled(visible(pad, q.shape[2], k.shape[2])).to(torch.bool)
    return scores(q, k).masked_fill(mask, LOWEST).softmax(-1) @ v


@form("n upto m + 0 ?")
def scaled_behind(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    rows, keys = torch.arange(q.shape[2]), torch.arange(k.shape[2])
    masked = scores(q, k).masked_fill(keys[None, :] > rows[:, None], -1e9) / 4.0
    return masked.softmax(-1) @ v


@form("n from m + 1 ? and n upto m + 0 ?")  # neither holds: what is added is not low enough
def small_number_added(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    rows, keys = torch.arange(q.shape[2]), torch.arange(k.shape[2])
    return (scores(q, k) + (keys[None, :] > rows[:, None]) * -1e4).softmax(-1) @ v


@form("n from - 4 + %s0 and n upto + 0 + %s0")
def last_row(q: Tensor, k: Tensor, v: Tensor, pad: Tensor) -> Tensor:
    mask = visible(pad, 1, k.shape[2], 5)
    return F.scaled_dot_product_attention(q[:, :, -1:], k, v, attn_mask=mask)


def _inputs(length: int) -> tuple[Tensor, ...]:
    random = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(2, 2, length, 16, generator=random) for _ in range(3))
    pad = torch.ones(2, length, dtype=torch.bool)
    pad[0, : length // 4] = False
    return q, k, v, pad


@pytest.mark.parametrize("name", FORMS)
def test_limits(name: str) -> None:
    function, wanted = FORMS[name]
    canonical = optimize(graph_of(function, *_inputs(21)).candidate.subgraph)
    text = print_linear(lower(canonical, PORTABLE))
    found = {
        " ".join(limits.split())
        for limits in re.findall(r"for n where (.*?) (?:carries|step)", text)
    }
    plain = {re.sub(r"when %\S+", "?", limits) for limits in found}
    assert plain == ({wanted} if wanted else set())
    assert ("retry" in text) == ("?" in wanted)


@pytest.mark.parametrize("name", FORMS)
def test_numbers(name: str) -> None:
    function = FORMS[name][0]
    torch._dynamo.reset()
    snipjit.reset_stats()
    compiled = torch.compile(function, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        for length in (21, 300):
            args = _inputs(length)
            torch.testing.assert_close(compiled(*args), function(*args), atol=2e-5, rtol=2e-5)
    assert snipjit.stats().subgraphs == 1, snipjit.stats().refusals


WHOLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "and": lambda i, j: (i & j) == 0,
    "or": lambda i, j: (i | j) < 9,
    "exclusive or": lambda i, j: (i ^ j) < 6,
    "not": lambda i, j: ~i + j < -2,
    "parity": lambda i, j: ((i - j) & 1) == 0,
    "true and a number": lambda i, j: (torch.ones_like(i) & j) == 1,
    "times two": lambda i, j: torch.add(i, j, alpha=2) < 20,
    "chosen": lambda i, j: torch.where((i * 0.3).sqrt() > 0.9, i, j) < 11,
}
"""Conditions on whole numbers: bits are not truths."""


@pytest.mark.parametrize("name", WHOLE)
def test_conditions_on_whole_numbers(name: str) -> None:
    def function(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        i, j = torch.arange(q.shape[2])[:, None], torch.arange(k.shape[2])[None]
        mask = WHOLE[name](i, j) | (i == j)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    torch._dynamo.reset()
    snipjit.reset_stats()
    compiled = torch.compile(function, backend="snipjit", dynamic=True)
    with torch.inference_mode():
        for length in (21, 35):
            args = _inputs(length)[:3]
            torch.testing.assert_close(compiled(*args), function(*args), atol=2e-5, rtol=2e-5)
    assert snipjit.stats().subgraphs == 1, snipjit.stats().refusals
