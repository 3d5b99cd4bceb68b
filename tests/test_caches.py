"""Caches that grow at each call: eager's values, in memory that takes turns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.export import Dim, export

import snipjit
from snipjit.runtime.recycled_memory import RECYCLED

HEADS, TOKENS, FEATURES = 4, 2100, 64


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, new: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    k, v = torch.cat([k, new], -2), torch.cat([v, -new], -2)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v), k, v


def inputs() -> list[torch.Tensor]:
    torch.manual_seed(0)
    q, new = torch.randn(2, 1, HEADS, 1, FEATURES)
    k, v = torch.randn(2, 1, HEADS, TOKENS, FEATURES)
    return [q, k, v, new]


def check(step: Any, steps: int = 5) -> None:
    """Decode, an old cache being kept and one changed in place on the way."""
    q, k, v, new = inputs()
    expected, found = [k, v], [k, v]
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    for number in range(steps):
        out, *expected = attend(q, expected[0], expected[1], new)
        result, *found = step(q, *found, new)
        torch.testing.assert_close(result, out)
        assert all(map(torch.equal, found, expected))
        if number == 1:
            kept = [*zip(found, expected, strict=True)]
            kept = [(mine, eager.clone()) for mine, eager in kept]
        if number == 2:
            for cache in (*found, *expected):
                cache[:, :, 5] = 3.0
    assert all(torch.equal(mine, eager) for mine, eager in kept)


def test_compiled() -> None:
    torch._dynamo.reset()
    mapped, before = [], RECYCLED.map
    step = torch.compile(attend, backend="snipjit", dynamic=True)
    try:
        RECYCLED.map = lambda size: (mapped.append(size), before(size))[1]  # type: ignore[func-returns-value]
        with torch.inference_mode():
            check(step, 9)
    finally:
        RECYCLED.map = before
    assert len(mapped) == 6  # what is read, what is written, and what the test keeps
    assert RECYCLED.lent_bytes == RECYCLED.spare_bytes == 0


@pytest.mark.parametrize("rest", ["eager", "inductor"])
def test_with_the_rest(rest: str) -> None:
    torch._dynamo.reset()
    step = torch.compile(attend, backend="snipjit", dynamic=True, options={"rest": rest})
    with torch.no_grad():
        check(step, 3)


def test_programs() -> None:
    tokens = Dim("tokens", min=2)
    shapes = (None, {2: tokens}, {2: tokens}, None)

    class Attend(torch.nn.Module):
        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return attend(*tensors)

    exported = export(Attend(), tuple(inputs()), dynamic_shapes=(shapes,))
    with torch.inference_mode():
        check(snipjit.compile(exported))


def test_where_gradients_are_needed() -> None:
    torch._dynamo.reset()
    step = torch.compile(attend, backend="snipjit", dynamic=True)
    q, k, v, new = inputs()
    new.requires_grad_()
    with pytest.warns(UserWarning, match="no_grad"):
        out, joined, _ = step(q, k, v, new)
    (grad,) = torch.autograd.grad([out.sum(), joined.sum()], [new])
    assert grad.shape == new.shape
