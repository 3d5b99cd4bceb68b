from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from snipjit.passes.fx import needs_grad, tokenize
from snipjit.passes.fx.patterns.attention import Attention
from tests.passes.fx.attention_forms import qkv


def _needed(model: Callable[..., Tensor], *inputs: Tensor) -> list[bool]:
    found: list[bool] = []

    def backend(gm: fx.GraphModule, _: Sequence[Any]) -> Callable[..., Any]:
        found.extend(
            needs_grad(gm, candidate) for candidate in tokenize(gm, [Attention()]).candidates
        )
        return gm.forward

    torch._dynamo.reset()
    torch.compile(model, backend=backend)(*inputs)
    return found


class Projected(torch.nn.Module):
    """Attention whose query comes from a Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.query = torch.nn.Linear(8, 8)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of a projected query."""
        scores: Tensor = self.query(q) @ k.mT
        return scores.softmax(-1) @ v


def test_parameters_ask_for_gradients() -> None:
    assert _needed(Projected(), *qkv()) == [True]


def test_not_without_grad_mode() -> None:
    with torch.no_grad():
        assert _needed(Projected(), *qkv()) == [False]


def test_not_in_inference_mode() -> None:
    with torch.inference_mode():
        assert _needed(Projected(), *qkv()) == [False]


def test_not_for_frozen_parameters() -> None:
    assert _needed(Projected().requires_grad_(False), *qkv()) == [False]


def test_inputs_ask_for_gradients() -> None:
    q, k, v = qkv()
    model = Projected().requires_grad_(False)
    assert _needed(model, q, k.requires_grad_(), v) == [True]


def test_a_region_without_gradients() -> None:
    model = Projected()

    def inside(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.tanh(model(q, k, v))

    assert _needed(inside, *qkv()) == [False]


def test_aten_graphs_search_the_producers() -> None:
    exported = torch.export.export(Projected(), qkv()).run_decompositions({})
    gm = exported.graph_module
    (candidate,) = tokenize(gm, [Attention()]).candidates
    assert needs_grad(gm, candidate)
    with torch.no_grad():
        assert not needs_grad(gm, candidate)
