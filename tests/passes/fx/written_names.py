"""Attention whose scores, or views of them, have several names, by which they are written to."""

from __future__ import annotations

from torch import Tensor

from tests.passes.fx.written_forms import Form, scores


def two_names_of_all(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    t = s.add_(m)
    t.mul_(0.5)
    return s.softmax(-1) @ v


def two_names(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    t = s.add_(m)
    t[..., 0] = -1
    s[..., 1:3] = 2
    t *= 0.5
    return s.softmax(-1) @ v


def two_names_of_a_view(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    x = s[:, 0]
    x.mul_(2).add_(1)
    x[..., 0] = 3
    x[..., -1] = 2
    return s.softmax(-1) @ v


def two_writes_of_a_view(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    x = s[:, 0]
    x[..., 0] = 3
    s[..., 2:5] = 1
    x[..., -1] = 2
    return s.softmax(-1) @ v


def version_read_later(q: Tensor, k: Tensor, v: Tensor, m: Tensor) -> Tensor:
    s = scores(q, k)
    y = s.mul_(2)
    s[..., 0] = 1
    return (y + s).softmax(-1) @ v


NAMED: tuple[Form, ...] = (
    two_names_of_all,
    two_names,
    two_names_of_a_view,
    two_writes_of_a_view,
    version_read_later,
)
