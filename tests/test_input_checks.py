"""Inputs of programs: every size that export has fixed or tied is checked before the call."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import snipjit
from snipjit.errors import InputError


@pytest.fixture(autouse=True)
def _small(small_tiles: None) -> None:
    torch.manual_seed(0)


def by_head(q: Tensor, k: Tensor) -> Tensor:
    """The square root makes the head size static."""
    return (q @ k.mT / math.sqrt(q.size(-1))).softmax(-1) @ k


def by_rows(q: Tensor, k: Tensor) -> Tensor:
    return (q @ k.mT / math.sqrt(q.size(-2))).softmax(-1) @ k


def by_branch(q: Tensor, k: Tensor) -> Tensor:
    """Another program for many scores."""
    scores = q @ k.mT
    return (scores * 2 if q.size(1) * q.size(2) > 20 else scores).softmax(-1) @ k


def by_pairs(q: Tensor, k: Tensor) -> Tensor:
    """Another program for odd lengths."""
    scores = q @ k.mT
    return (scores * 2 if q.size(2) % 2 == 0 else scores).softmax(-1) @ k


def wide(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    q = torch.randn(shape)
    return q, torch.randn(*shape[:2], 5, shape[3])


@pytest.mark.parametrize(
    ("model", "example", "fits", "other", "message"),
    [
        (by_head, (2, 4, 7, 16), (3, 2, 9, 16), (2, 4, 7, 8), "size 8; accepted: 16"),
        (by_rows, (2, 4, 7, 16), (3, 2, 7, 8), (2, 4, 19, 16), "size 19; accepted: 7"),
        (by_branch, (2, 4, 7, 16), (2, 3, 7, 16), (2, 2, 9, 16), r"size\(\)\[1\] > 20"),
        (by_pairs, (2, 4, 8, 16), (2, 4, 10, 16), (2, 4, 9, 16), r"q\.size\(\)\[2\] % 2 == 0"),
    ],
)
def test_sizes_that_tracing_decided_by(
    model: Callable[..., Tensor],
    example: tuple[int, ...],
    fits: tuple[int, ...],
    other: tuple[int, ...],
    message: str,
) -> None:
    program = snipjit.compile(model, wide(example))
    inputs = wide(fits)
    torch.testing.assert_close(program(*inputs), model(*inputs))
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            program(*wide(other))
    torch.testing.assert_close(program(*inputs), model(*inputs))


def test_features_of_a_layer() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = torch.nn.Linear(32, 96)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.project(x).view(*x.shape[:2], 3, 2, 16).permute(2, 0, 3, 1, 4)
            result: Tensor = (q @ k.mT / 4).softmax(-1) @ v
            return result

    program = snipjit.compile(Model().eval(), (torch.randn(2, 7, 32),))
    with pytest.raises(InputError, match="dim 2 of input 'x' has size 31; accepted: 32"):
        program(torch.randn(2, 7, 31))
    assert program(torch.randn(3, 5, 32)).shape == (3, 2, 5, 16)


def test_a_size_that_is_a_product_of_others() -> None:
    def flat(q: Tensor, bias: Tensor) -> Tensor:
        return ((q @ q.mT).flatten(0, 1) + bias).softmax(-1) @ q.flatten(0, 1)

    program = snipjit.compile(flat, (torch.randn(2, 4, 7, 16), torch.randn(8, 1, 7)))
    q, bias = torch.randn(3, 5, 9, 16), torch.randn(15, 1, 9)
    torch.testing.assert_close(program(q, bias), flat(q, bias))
    with pytest.raises(InputError, match="dim 0 of input 'bias' has size 9; accepted: 15"):
        program(q, torch.randn(9, 1, 9))


def test_conditions_on_nested_inputs() -> None:
    def model(pair: dict[str, Any], rest: list[Tensor]) -> Tensor:
        scale = 2 if pair["q"].size(1) * pair["q"].size(2) > 20 else 1
        result: Tensor = (pair["q"] @ rest[0].mT * scale).softmax(-1) @ rest[0]
        return result

    q, k = wide((2, 4, 7, 16))
    program = snipjit.compile(model, ({"q": q}, [k]))
    torch.testing.assert_close(program({"q": q}, [k]), model({"q": q}, [k]))
    q, k = wide((2, 2, 7, 16))
    with pytest.raises(InputError, match=r"pair\['q'\]\.size"):
        program({"q": q}, [k])


@pytest.mark.parametrize("value", [1.5, "3", None, True], ids=repr)
def test_an_int_that_is_a_size(value: object) -> None:
    def model(q: Tensor, n: int) -> Tensor:
        return (q @ q.mT * n).softmax(-1) @ q

    q = torch.randn(2, 3, 7, 16)
    shapes = ({0: torch.export.Dim.AUTO}, torch.export.Dim.AUTO)
    program = snipjit.compile(model, (q, 5), dynamic_shapes=shapes)
    torch.testing.assert_close(program(q, 9), model(q, 9))
    with pytest.raises(InputError, match=r"input 'n' is a \w+: pass an int"):
        program(q, value)
