"""Tensors that hold one number: the one that their element type holds, in every trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.passes.fx.support import Capture, assert_equal_to_eager, dynamo, exported

Form = Callable[[Tensor, Tensor, Tensor], Tensor]


class Model(nn.Module):
    def __init__(self, form: Form) -> None:
        super().__init__()
        self.form = form

    def forward(self, *args: Tensor) -> Tensor:
        return self.form(*args)


def attend(scores: Tensor, v: Tensor) -> Tensor:
    return scores.softmax(-1) @ v


def multiplied(*shape: int, fill: float, dtype: torch.dtype) -> Form:
    """Scores times a fill: added to a row, a constant would cancel."""

    def form(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q @ k.mT * torch.full(shape, fill, dtype=dtype), v)

    return form


def where_positive(number: float) -> Form:
    """A fill that float16 rounds, added to a part of the scores."""

    def form(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = q @ k.mT
        low = torch.full((s.size(-2), s.size(-1)), number, dtype=torch.float16)
        return attend(torch.where(s > 0, s + low, s), v)

    return form


def like(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attend(q @ k.mT * torch.full_like(q[..., :1, :1], 2.6, dtype=torch.int32), v)


def new(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attend(q @ k.mT * q.new_full((1, 1), 2.6, dtype=torch.int32), v)


def divided(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attend(q @ k.mT / torch.full((1, 1), 2.7, dtype=torch.int32), v)


def compared(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    s = q @ k.mT
    return attend(s.masked_fill(s > torch.full((1, 1), 0.7, dtype=torch.int32), 0.3), v)


def chosen(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    s = q @ k.mT
    return attend(torch.where(s > 0, s, torch.full((1, 1), -1.7, dtype=torch.int32)), v)


def of_a_size(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attend(q @ k.mT * torch.full((1, 1), q.size(-2) / 4, dtype=torch.int32), v)


def hiding_nothing(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    seen = torch.ones(q.size(-2), 1, dtype=torch.bool)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)


def hiding_everything(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    hidden = torch.zeros(q.size(-2), 1, dtype=torch.bool)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=hidden)


def triangle(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    low = torch.full((q.size(-2), k.size(-2)), -3.7, dtype=torch.int32).triu(1)
    return attend(q @ k.mT + low, v)


def filled_by_index(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    zeros = torch.zeros(q.size(-2), k.size(-2), dtype=torch.int32)
    return attend(q @ k.mT + zeros.masked_fill(torch.arange(k.size(-2)) > 3, -3.7), v)


def equal(number: float, literal: float) -> Form:
    """Whether float32 tells a fill and a literal apart."""

    def form(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = q @ k.mT
        same = torch.full((s.size(-2), s.size(-1)), number) == literal
        zeros = torch.zeros(s.size(-2), s.size(-1))
        return attend(s + zeros.masked_fill(same.tril(), 0.5), v)

    return form


FORMS: dict[str, Form] = {
    "int32": multiplied(1, 1, fill=1.7, dtype=torch.int32),
    "int8": multiplied(1, fill=3.9, dtype=torch.int8),
    "bool": multiplied(1, 1, fill=3.0, dtype=torch.bool),
    "no dim": multiplied(fill=2.7, dtype=torch.int64),
    "float16": where_positive(1.0013),
    "equal in float32": equal(0.1, 0.1),
    "equal to a neighbour": equal(16777217.0, 16777216.0),
    "other numbers": equal(0.1, 0.2),
}
FORMS |= {
    form.__name__: form
    for form in (
        *(like, new, divided, compared, chosen, of_a_size, hiding_nothing, hiding_everything),
        *(triangle, filled_by_index),
    )
}
REFUSED = ("filled_by_index",)


def captures(form: Form, how: str) -> list[Capture]:
    q, k, v = (torch.randn(2, 3, n, 8) for n in (7, 9, 9))
    if how == "exported":
        return [exported(Model(form), (q, k, v))]
    return dynamo(form, q, k, v, dynamic=how == "dynamic")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param(name, how, marks=pytest.mark.long if how == "exported" and number % 3 else [])
        for number, name in enumerate(FORMS)
        for how in ("dynamic", "static", "exported")
    ],
)
def test_a_fill_is_what_its_type_holds(name: str, how: str) -> None:
    torch.manual_seed(0)
    for capture in captures(FORMS[name], how):
        assert_equal_to_eager(capture, atol=1e-4)
        reasons: list[Any] = [refusal.reason for refusal in capture.tokens.refusals]
        symbolic = (
            how == "dynamic" or name == "of_a_size"
        )  # the number may be an input of the graph
        assert len(capture.tokens.candidates) == 1 or symbolic or name in REFUSED, reasons
