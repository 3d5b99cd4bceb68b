"""What a user is told without asking: what stays with PyTorch, no further graphs."""

from __future__ import annotations

import logging
import re
import threading
import warnings
from inspect import signature
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snipjit


class Attention(nn.Module):
    """With dropout, and a classifier's softmax after it."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.1)

    def forward(self, q: Tensor, extra: str = "") -> Tensor:
        weights = self.dropout((q @ q.mT).softmax(-1))
        result: Tensor = (weights @ q).sum(1).softmax(-1) * len(extra + "x")
        return result


@pytest.fixture(autouse=True)
def _fresh(fresh: None) -> None:
    """Nothing traced or counted before."""


def told(model: nn.Module, *args: object, grad: bool = False) -> list[str]:
    """What snipjit warns of when a model is compiled and called."""
    compiled = torch.compile(model, backend="snipjit", dynamic=True)
    with warnings.catch_warnings(record=True) as caught, torch.set_grad_enabled(grad):
        warnings.simplefilter("always")
        compiled(*args)
    return [str(warning.message) for warning in caught if "snipjit" in str(warning.message)]


def test_dropout_that_is_on_takes_every_attention() -> None:
    q = torch.randn(2, 3, 9, 16)
    (message,) = told(Attention().train(), q)
    assert message.startswith("snipjit left all attention of a graph to PyTorch: ")
    assert "training=False" in message


def test_a_softmax_over_classes_is_no_attention() -> None:
    q = torch.randn(2, 3, 9, 16)
    assert told(Attention().eval(), q) == []
    assert len(snipjit.stats().refusals) == 1
    assert told(nn.Softmax(-1), q) == []


def test_gradients_are_named() -> None:
    (message,) = told(Attention().eval(), torch.randn(2, 3, 9, 16, requires_grad=True), grad=True)
    assert "torch.no_grad()" in message


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_recompile_limit_is_said_once(in_thread: bool) -> None:
    """Set by configuration it counts in one thread; as an argument everywhere."""
    q, model = torch.randn(2, 3, 9, 16), Attention().eval()
    caught: list[warnings.WarningMessage] = []

    by_argument = "recompile_limit" in signature(torch.compile).parameters

    def calls(limit: int) -> int:
        torch._dynamo.reset()
        options: dict[str, Any] = {"recompile_limit": limit} if by_argument else {}
        torch._dynamo.config.recompile_limit = 8 if by_argument else limit
        compiled = torch.compile(model, backend="snipjit", dynamic=True, **options)
        with warnings.catch_warnings(record=True) as now, torch.inference_mode():
            warnings.simplefilter("always")
            for length in range(5):
                compiled(q, "a" * length)
        caught[:] = [warning for warning in now if "recompile_limit" in str(warning.message)]
        return len(caught)

    def check() -> None:
        logging.getLogger("torch._dynamo.convert_frame").setLevel(logging.WARNING)
        assert calls(3) == 1
        assert re.search("recompile_limit ?= ?64", str(caught[0].message))
        assert calls(20) == 0
        torch._dynamo.config.recompile_limit = 8

    if not in_thread:
        return check()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            check()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors, errors[0]


class Inner(nn.Module):
    """Calls attention as a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.part = Attention()

    def forward(self, q: Tensor) -> Tensor:
        result: Tensor = self.part(q)
        return result

    def encode(self, q: Tensor) -> Tensor:
        result: Tensor = self(q)
        return result


@pytest.mark.parametrize("how", ["compile", "forward", "part", "part's forward", "sequential"])
def test_explain_looks_behind_what_was_compiled_in_place(how: str) -> None:
    q, model = torch.randn(2, 3, 9, 16), Inner().eval()
    whole: nn.Module = nn.Sequential(model).eval() if how == "sequential" else model
    place = model.part if how.startswith("part") else whole
    if how.endswith("forward"):
        place.forward = torch.compile(place.forward, backend="snipjit")
    else:
        place.compile(backend="snipjit")
    with torch.inference_mode():
        methods: list[Any] = [model.encode] if whole is model else []
        for target in (whole, *methods):
            report = snipjit.explain(target, q)
            assert (len(report.subgraphs), report.graphs) == (1, 1)
        assert snipjit.stats().kernels == 0
        whole(q)
    assert snipjit.stats().kernel_calls == 1


def test_explain_says_so_where_nothing_is_traced() -> None:
    model = Attention().eval()
    model.compile(backend="snipjit")

    disable: Any = torch.compiler.disable
    hidden = disable(lambda q: model(q))
    with torch.inference_mode():
        report = snipjit.explain(lambda q: hidden(q), torch.randn(2, 3, 9, 16))
    assert "no graph was traced" in str(report)
