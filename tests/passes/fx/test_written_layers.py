"""Equal layers that write into their scores: lifted once, with the numbers of eager in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snipjit
from snipjit.passes.fx.patterns.recognise import Recognition
from tests.passes.fx.support import Capture, assert_equal_to_eager, exported, graph_of

Change = Callable[[Tensor, Tensor], Any]
"""Changes the scores in place; what it gives is added to the result of the layer."""

COUNT = 4


def masked(s: Tensor, m: Tensor) -> Any:
    s[m.expand_as(s)] = -1e4


def last_key(s: Tensor, m: Tensor) -> Any:
    s[..., -1] += 1


def masked_and_last_key(s: Tensor, m: Tensor) -> Any:
    s[m.expand_as(s)] = -1e4
    s[..., -1] = -2


def one_head(s: Tensor, m: Tensor) -> Any:
    s[:, 0].mul_(0.5).add_(m)


def all_of_it(s: Tensor, m: Tensor) -> Any:
    s += m
    s.mul_(0.5)


def first_key(s: Tensor, m: Tensor) -> Any:
    s[..., 0] += 1


def read_before(s: Tensor, m: Tensor) -> Any:
    total = s.amax(-1)
    s *= 0.5
    return total.mean()


def read_after(s: Tensor, m: Tensor) -> Any:
    s *= 0.5
    total = s.amax(-1)
    return total.mean()


def view_read_before(s: Tensor, m: Tensor) -> Any:
    x = s[:, 0]
    total = x.mean()
    s[..., 0] = -1
    return total


def view_read_after(s: Tensor, m: Tensor) -> Any:
    x = s[:, 0]
    s[..., 0] = -1
    return x.mean()


EQUAL = (masked, last_key, masked_and_last_key, one_head, all_of_it)
OTHERS = (
    (last_key, first_key),
    (masked, last_key),
    (read_before, read_after),
    (read_after, read_before),
    (view_read_before, view_read_after),
    (view_read_after, view_read_before),
)


class Layer(nn.Module):
    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change
        self.q, self.k, self.v = (nn.Linear(32, 32) for _ in range(3))

    def forward(self, x: Tensor, m: Tensor) -> Tensor:
        q, k, v = (
            linear(x).view(*x.shape[:2], 2, 16).transpose(1, 2)
            for linear in (self.q, self.k, self.v)
        )
        scores = q @ k.mT * 0.25
        more = self.change(scores, m)
        heads = scores.softmax(-1) @ v
        result: Tensor = x + heads.transpose(1, 2).flatten(2)
        return result if more is None else result + more


class Layers(nn.Module):
    def __init__(self, *changes: Change) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(map(Layer, changes))

    def forward(self, *args: Tensor) -> Tensor:
        x, m = args
        for layer in self.layers:
            x = layer(x, m)
        return x


def inputs(length: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(length)
    return torch.randn(2, length, 32), torch.rand(length, length) > 0.6


@pytest.fixture
def lifted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of anchors whose regions are lifted."""
    found: list[str] = []
    original = Recognition._candidate

    def counted(self: Recognition, pattern: Any, anchor: torch.fx.Node) -> Any:
        found.append(anchor.name)
        return original(self, pattern, anchor)

    monkeypatch.setattr(Recognition, "_candidate", counted)
    return found


def captured(model: nn.Module, kind: str) -> Capture:
    if kind == "dynamic":
        return graph_of(model, *inputs(13))
    return exported(model, inputs(13), functional=kind == "functional")


@pytest.mark.parametrize("kind", ["dynamic", "exported", "functional"])
@pytest.mark.parametrize("change", EQUAL, ids=lambda change: change.__name__)
def test_equal_layers_are_lifted_once(change: Change, kind: str, lifted: list[str]) -> None:
    capture = captured(Layers(*[change] * COUNT).eval(), kind)
    candidates = capture.tokens.candidates
    assert len(candidates) == COUNT
    assert len(lifted) <= 2  # the first layer reads what no layer has made
    assert all(candidate.subgraph is candidates[1].subgraph for candidate in candidates[1:])
    assert candidates[0].subgraph == candidates[1].subgraph
    assert_equal_to_eager(capture)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("kind", ["static", "dynamic", "exported"])
@pytest.mark.parametrize("change", EQUAL, ids=lambda change: change.__name__)
def test_kernels_of_equal_layers(change: Change, kind: str) -> None:
    _compare(Layers(*[change] * COUNT).eval(), kind)
    assert snipjit.stats().subgraphs >= COUNT
    assert not snipjit.stats().refusals


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("kind", ["dynamic", "exported"])
@pytest.mark.parametrize("pair", OTHERS, ids=lambda pair: "-".join(of.__name__ for of in pair))
def test_other_layers_are_not_taken_for_equal(pair: tuple[Change, Change], kind: str) -> None:
    first, other = pair
    _compare(Layers(first, first, other, first, other).eval(), kind)


def _compare(model: nn.Module, kind: str) -> None:
    if kind == "exported":
        compiled: Any = snipjit.compile(model, inputs(13))
    else:
        compiled = torch.compile(model, backend="snipjit", dynamic=kind == "dynamic")
    with torch.no_grad():
        for length in (13, 17):
            result, expected = (run(*inputs(length)) for run in (compiled, model))
            torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)
