"""Scores at the ends of what a type holds: huge terms, rows that see nothing, lost logarithms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import snipjit


@pytest.fixture(autouse=True)
def _fresh(fresh: None) -> None:
    """Nothing traced or counted before."""


MAX = torch.finfo(torch.float32).max


def masked(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return (q @ k.mT * 0.25 + mask).softmax(-1) @ v


def compiled(form: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(form, backend="snipjit", dynamic=True)


@pytest.mark.parametrize("rows", [40, 1])
def test_huge_terms_at_visible_keys(rows: int) -> None:
    q, k, v = torch.randn(1, 2, rows, 16), *torch.randn(2, 1, 2, 40, 16)
    run = compiled(masked)
    parts = (torch.ones(40), torch.arange(40) % 2.0, torch.linspace(0.5, 1, 40))
    for term in (2.3e38, 2.4e38, MAX, -2.4e38, -MAX):
        for part in parts:
            mask = (term * part)[None, None, None]
            with torch.inference_mode():
                expected = masked(q, k, v, mask)
                assert not expected.isnan().any()
                torch.testing.assert_close(run(q, k, v, mask), expected)


@pytest.mark.parametrize("scale", [3.3e38, -3.3e38])
def test_huge_products(scale: float) -> None:
    q, k, v = torch.zeros(2, 40, 16), torch.zeros(2, 40, 16), torch.randn(2, 40, 16)
    q[..., 0], k[..., 0] = scale, torch.linspace(0, 1, 40)

    def form(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT).softmax(-1) @ v

    with torch.inference_mode():
        torch.testing.assert_close(compiled(form)(q, k, v), form(q, k, v))


def in_float32(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return (q @ k.mT * 0.25 + mask).softmax(-1, dtype=torch.float32).to(q.dtype) @ v


def twice(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    return (q @ k.mT * 0.25 + mask + mask.mT).softmax(-1) @ v


def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    s = q @ k.mT * 0.25 + mask
    e = (s - s.amax(-1, True)).exp()
    return e / e.sum(-1, True) @ v


def added_in_float32(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Nothing is rounded: float32 tells scores less 65504 apart."""
    s = (q @ k.mT * 0.25).float() + mask.float()
    return s.softmax(-1).to(q.dtype) @ v


FORMS = (masked, in_float32, twice, written_out, added_in_float32)
CASES = [
    pytest.param(
        *(form, dtype, exported, rows),
        # float16 is what differs from the other types.
        marks=[] if dtype is torch.float16 and exported == (rows == 1) else pytest.mark.long,
    )
    for form in FORMS
    for dtype in (torch.float16, torch.bfloat16, torch.float32)
    for exported in (False, True)
    for rows in (70, 1)
]


@pytest.mark.parametrize(("form", "dtype", "exported", "rows"), CASES)
def test_rows_that_see_nothing(
    form: Callable[..., Tensor], dtype: torch.dtype, exported: bool, rows: int
) -> None:
    q, k, v = (torch.randn(1, 2, n, 16).to(dtype) for n in (70, 70, 70))
    mask = torch.zeros(70, 70, dtype=dtype)
    mask[:3] = mask[40:, :2] = torch.finfo(dtype).min
    if rows == 1 and form is not twice:
        q, mask = q[:, :, :rows], mask[:rows]
    with torch.inference_mode():
        expected = form(q, k, v, mask)
        run = snipjit.compile(form, (q, k, v, mask)) if exported else compiled(form)
        found = run(q, k, v, mask)
    tolerance = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 1e-5}[dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    assert snipjit.stats().subgraphs == 1


def by_log_sum_exp(q: Tensor, k: Tensor, v: Tensor, hide: Tensor) -> Tensor:
    s = (q @ k.mT * 0.25).masked_fill(hide, torch.finfo(q.dtype).min)
    return (s - s.logsumexp(-1, True)).exp() @ v


def by_log_softmax(q: Tensor, k: Tensor, v: Tensor, hide: Tensor) -> Tensor:
    s = (q @ k.mT * 0.25).masked_fill(hide, torch.finfo(q.dtype).min)
    return s.log_softmax(-1).exp() @ v


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("form", [by_log_sum_exp, by_log_softmax])
def test_a_logarithm_that_is_rounded_off(form: Callable[..., Tensor], dtype: torch.dtype) -> None:
    """Eager weighs every key by 1 where it subtracts what it has rounded, not where it does not."""
    q, k, v = torch.randn(3, 1, 2, 40, 16).to(dtype)
    hide = torch.zeros(40, 40, dtype=torch.bool)
    hide[:3] = hide[20:, :2] = True
    with torch.inference_mode():
        found, expected = compiled(form)(q, k, v, hide), form(q, k, v, hide)
    tolerance = {torch.float16: 1e-2, torch.bfloat16: 6e-2, torch.float32: 1e-4}[dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    taken = form is by_log_softmax or dtype == torch.float32
    assert snipjit.stats().subgraphs == taken
