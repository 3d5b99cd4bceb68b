"""Attention in branches, loops and regions that torch keeps as graphs inside the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

import snipjit
from tests.passes.fx.attention_forms import Model, qkv

LONG = pytest.mark.long


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) * 0.25, -1) @ v


def _merged(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _attention(q, k, v).transpose(1, 2)


def branches(q: Tensor, k: Tensor, v: Tensor) -> Any:
    operands = (q, k, v)
    return torch.cond(q.sum() > 0, _merged, lambda q, k, v: _merged(q, 2 * k, v), operands)


def nested(q: Tensor, k: Tensor, v: Tensor) -> Any:
    def inner(q: Tensor, k: Tensor, v: Tensor) -> Any:
        return torch.cond(
            k.sum() > 0, _attention, lambda q, k, v: _attention(q, k, v + 1), (q, k, v)
        )

    return torch.cond(q.sum() > 0, inner, lambda q, k, v: _attention(q, -k, v), (q, k, v))


def loop(q: Tensor, k: Tensor, v: Tensor) -> Any:
    def body(i: Tensor, x: Tensor, k: Tensor, v: Tensor) -> Any:
        return i + 1, _attention(x, k, v), k.clone(), v.clone()

    start = torch.zeros((), dtype=torch.int64)
    run: Any = while_loop  # which has no types
    return run(lambda i, *_: i < 3, body, (start, q, k, v))[1]


def beside_weights(q: Tensor, k: Tensor, v: Tensor, weights: Tensor) -> Any:
    """What needs gradients is not read by attention, but torch makes a backward graph of both."""
    return torch.cond(
        q.sum() > 0,
        lambda q, k, v, w: _attention(q, k, v) * w,
        lambda q, k, v, w: _attention(q, k, v) + w,
        (q, k, v, weights),
    )


class Projected(nn.Module):
    """A layer with parameters, or none."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Any:
        def attend(x: Tensor) -> Tensor:
            y = self.project(x)
            return _attention(y, y, x)

        return torch.cond(x.sum() > 0, attend, lambda x: x.clone(), (x,))


FORMS = (
    (branches, 2),
    pytest.param(nested, 3, marks=LONG),
    pytest.param(loop, 1, marks=LONG),
)
ROADS = ("static", "dynamic", "program")


def _compiled(model: Callable[..., Any], args: tuple[Tensor, ...], road: str, rest: str) -> Any:
    torch._dynamo.reset()
    snipjit.reset_stats()
    if road == "program":
        module = model if isinstance(model, nn.Module) else Model(model)
        return snipjit.compile(module, args, options={"rest": rest})
    dynamic = road == "dynamic"
    return torch.compile(model, backend="snipjit", dynamic=dynamic, options={"rest": rest})


@pytest.mark.parametrize("rest", ["eager", pytest.param("inductor", marks=LONG)])
@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize(("form", "count"), FORMS)
def test_bodies_that_run_as_they_stand(
    form: Callable[..., Any], count: int, road: str, rest: str
) -> None:
    q, k, v = qkv()
    with torch.no_grad():
        compiled = _compiled(form, (q, k, v), road, rest)
        for args in ((q, k, v), (-q, k, v), (-q, -k, v)):
            result, expected = compiled(*args), form(*args)
            torch.testing.assert_close(result, expected)
            assert result.stride() == expected.stride()
    assert snipjit.stats().subgraphs == count, snipjit.stats().refusals


@pytest.mark.parametrize("road", ROADS)
def test_branches_with_parameters(road: str) -> None:
    model, x = Projected(), torch.randn(2, 5, 16)
    with torch.no_grad():
        compiled = _compiled(model, (x,), road, "eager")
        for sign in (1, -1):
            torch.testing.assert_close(compiled(sign * x), model(sign * x))
    assert snipjit.stats().subgraphs == 1


def test_explained() -> None:
    with torch.no_grad():
        assert len(snipjit.explain(branches, *qkv()).subgraphs) == 2
    dims = {name: {2: torch.export.Dim.AUTO} for name in "qkv"}
    exported = torch.export.export(_Branches(), qkv(), dynamic_shapes=dims)
    assert len(snipjit.explain(exported).subgraphs) == 2


class _Branches(nn.Module):
    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Any:
        return branches(q, k, v)


@pytest.mark.parametrize("form", [branches, beside_weights])
def test_gradients_through_branches(form: Callable[..., Any]) -> None:
    torch._dynamo.reset()
    snipjit.reset_stats()
    own = qkv() if form is branches else (*qkv(), torch.ones(8))
    results, expected = ([t.clone() for t in own] for _ in range(2))
    results[-1].requires_grad_()
    expected[-1].requires_grad_()
    form(*expected).square().sum().backward()
    with pytest.warns(UserWarning, match=r"use torch.no_grad\(\)"):
        torch.compile(form, backend="snipjit")(*results).square().sum().backward()
    assert snipjit.stats().subgraphs == 0
    torch.testing.assert_close(results[-1].grad, expected[-1].grad)
