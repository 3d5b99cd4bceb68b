"""Writes into scores that are refused with a reason, or must be seen elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.passes.fx.written_forms import Form, scores


def view_read_later(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Any:
    s = scores(q, k)
    x = s[:, 0]
    s[..., 0] = -1
    return s.softmax(-1) @ v, x + 1


def part_read_later(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Any:
    s = scores(q, k)
    x = s[:, 0].mul_(2)
    return s.softmax(-1) @ v, x


def another_head(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, 0] = s[:, 1]
    return s.softmax(-1) @ v


def whole_numbers(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., torch.tensor([0])] = -5
    return s.softmax(-1) @ v


def in_steps(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., ::2] = -5
    return s.softmax(-1) @ v


def by_element(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., 1:] = q[..., :1] * k[:, :, 1:, 0].unsqueeze(-2)
    return s.softmax(-1) @ v


def diagonal_of_values(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s.diagonal(dim1=-2, dim2=-1).copy_(q[..., 0])
    return s.softmax(-1) @ v


def added_up(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s.index_put_((m.expand_as(s),), torch.tensor(2.0), accumulate=True)
    return s.softmax(-1) @ v


def after_the_softmax(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Any:
    s = scores(q, k)
    out = s.softmax(-1) @ v
    s[..., 0] = 1
    return out, s


def another_owner(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Any:
    s = scores(q, k)
    flat = s.view(-1)
    s[..., 0] = 1
    return s.softmax(-1) @ v, flat


CLEAR_WORDS: dict[Form, str] = {
    view_read_later: "works in place and it changes `x`, which was made outside",
    part_read_later: "selects elements",
    another_head: "selects elements|not taken",
    whole_numbers: "writes to a part: an index that is a tensor or a list; accepted: numbers",
    in_steps: "writes to a part: a slice in steps; accepted: steps of 1",
    by_element: "is written element by element; accepted: numbers",
    diagonal_of_values: "is written element by element; accepted: numbers",
    added_up: "it adds up; accepted: accumulate=False",
    after_the_softmax: "`setitem` changes `.*` .* in place, which is read outside the chain",
    another_owner: "works in place and it changes `flat`, which was made outside",
}
