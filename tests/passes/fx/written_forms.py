"""Attention that writes into parts of its scores or weights."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isfunction
from typing import Any

import torch
from torch import Tensor

Form = Callable[[Tensor, Tensor, Tensor, Tensor], Any]

INF = float("inf")


def scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.transpose(-1, -2) * 0.25


# By a mask.


def whole_mask(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[~m.expand_as(s)] = -INF
    return s.softmax(-1) @ v


def mask_of_last_dims(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, :, m] = -1e9
    return s.softmax(-1) @ v


def mask_behind_ellipsis(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., m] = q[0, 0, 0, 0]
    return s.softmax(-1) @ v


def mask_of_keys(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, :, :, m[0]] = -3
    return s.softmax(-1) @ v


def mask_of_rows(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, :, m[0]] = 2
    return s.softmax(-1) @ v


def mask_of_scores(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[s < 0] = 0
    return s.softmax(-1) @ v


def mask_of_weights(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    a = scores(q, k).softmax(-1)
    a[~m.expand_as(a)] = 0
    return a @ v


def hidden_rows(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., m] = -INF
    a = s.softmax(-1)
    a[a.isnan()] = 0
    return a @ v


def index_put(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s.index_put_((m.expand_as(s),), torch.tensor(-7.0))
    return s.softmax(-1) @ v


# By numbers and slices.


def first_key(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., 0] = -1e9
    return s.softmax(-1) @ v


def last_key(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., -1] = -1
    s[:, :, -1] += 1
    return s.softmax(-1) @ v


def slice_of_keys(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., 2:5] = -3
    return s.softmax(-1) @ v


def slices_from_the_end(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., -3:] = -2
    s[:, :, :-2] *= 0.5
    return s.softmax(-1) @ v


def slice_to_a_symbol(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., q.shape[2] // 2 :] = -3
    return s.softmax(-1) @ v


def slices_filled(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, :, 2:, :5].fill_(-3)
    return s.softmax(-1) @ v


def one_head(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, 0] *= 0.5
    return s.softmax(-1) @ v


def one_head_assigned(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, 0] = s[:, 0] * 2 + m
    return s.softmax(-1) @ v


def heads_by_slice(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, 1:3] -= m * 0.5
    return s.softmax(-1) @ v


def one_batch(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[0] = 0
    return s.softmax(-1) @ v


def weights_of_one_row(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    a = scores(q, k).softmax(-1)
    a[:, :, 0, 0] = 0
    return a @ v


def column_from_a_tensor(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, :, :, 0] = q[..., 1]
    return s.softmax(-1) @ v


def row_from_a_tensor(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, :, 0] = k[..., 1]
    return s.softmax(-1) @ v


def column_from_the_scores(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., 0] = s.amax(-1)
    return s.softmax(-1) @ v


def all_of_it(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:] = s * 2
    return s.softmax(-1) @ v


def filled_throughout(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:] = 3
    return s.softmax(-1) @ v


# By views.


def diagonal(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s.diagonal(dim1=-2, dim2=-1).fill_(-1e9)
    return s.softmax(-1) @ v


def diagonal_above(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s.diagonal(1, -2, -1)[:] = -5
    return s.softmax(-1) @ v


def view_in_another_order(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s.transpose(1, 2)[:, 0] = -2
    return s.softmax(-1) @ v


def view_that_is_read(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    t = scores(q, k).transpose(1, 2)
    t[:, 0] = -2
    return t.transpose(1, 2).softmax(-1) @ v


def masked_view(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, 0].masked_fill_(m, -1e4)
    return s.softmax(-1) @ v


def zeroed_view(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[..., 1:].zero_()
    return s.softmax(-1) @ v


def view_changed_twice(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    x = s[:, 0]
    x.mul_(2)
    x.add_(1)
    return s.softmax(-1) @ v


def view_changed_in_one_go(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s[:, 0].mul_(2).add_(1)
    return s.softmax(-1) @ v


def part_of_a_part(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    y = s[:, :, 1:]
    y[..., 0] = -3
    return s.softmax(-1) @ v


def view_made_before_another_write(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    x = s[:, 0]
    s[..., 0] = -3
    x *= 2
    return s.softmax(-1) @ v


def among_changes_of_all(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    s.mul_(0.5)
    s[..., 0] = -2
    s += 1
    s[:, 0].mul_(2)
    return s.softmax(-1) @ v


# Read elsewhere too.


def read_before_and_after(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    e = s.exp()
    s[..., 0] = -1
    return (s + e.tanh()).softmax(-1) @ v


def returned(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Any:
    a = scores(q, k).softmax(-1)
    a[~m.expand_as(a)] = 0
    return a @ v, a


def read_in_between(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Any:
    s = scores(q, k)
    s[..., 0] = -2
    total = s.sum(-1)
    s[..., -1] = 3
    return s.softmax(-1) @ v, total


def bias_is_written(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    bias = torch.zeros(q.shape[2], k.shape[2])
    bias[:, 0] = -9
    return (scores(q, k) + bias).softmax(-1) @ v


def input_is_written(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    k[:, 0] = 0
    return scores(q, k).softmax(-1) @ v


FUSED: tuple[Form, ...] = tuple(
    item
    for name, item in list(globals().items())
    if isfunction(item) and item.__module__ == __name__ and name != "scores"
)
