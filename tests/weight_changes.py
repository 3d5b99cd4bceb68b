"""Ways in which the weight of a layer ``a`` of a model changes between two calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Change = Callable[[Any], None]


def _load(model: Any) -> None:
    model.load_state_dict({name: t.cos() for name, t in model.state_dict().items()})


def _assign(model: Any) -> None:
    found = {name: t.cos() for name, t in model.state_dict().items()}
    model.load_state_dict(found, assign=True)


def _data(model: Any) -> None:
    model.a.weight.data = model.a.weight.data.sin()


def _data_in_place(model: Any) -> None:
    model.a.weight.data.mul_(3)


def _copy(model: Any) -> None:
    model.a.weight.copy_(model.a.weight.flip(0))


def _swap(model: Any) -> None:
    model.a.weight = nn.Parameter(model.a.weight.tanh())


def _transposed(model: Any) -> None:
    model.a.weight = nn.Parameter(model.a.weight.t().contiguous().cos().t())


def _optimizer(model: Any) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def _merge(model: Any) -> None:
    outputs, inputs = model.a.weight.shape
    model.a.weight += torch.outer(torch.arange(float(outputs)), torch.arange(float(inputs))) / 100


def _replaced_storage(model: Any) -> None:
    values = model.a.weight.detach().clone() * 2
    model.a.weight.data.resize_(0)
    model.a.weight.data.resize_(values.shape)
    model.a.weight.data.copy_(values)


SEEN: tuple[Change, ...] = (
    _load, _assign, _data, _copy, _swap, _transposed, _optimizer, _merge,
)  # fmt: skip
"""Those that PyTorch counts, or that put other memory in the place."""

UNSEEN: tuple[Change, ...] = (_data_in_place, _replaced_storage)
"""Those that only who reads the weight notices."""


def name_of(change: Change) -> str:
    """For people."""
    return change.__name__.strip("_")
