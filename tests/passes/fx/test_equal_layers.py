"""Layers that equal an earlier one are recognised before they are lifted, whatever pattern finds
them; those that differ in anything are lifted for themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snipjit
from snipjit.frontend import torch_backend
from snipjit.passes.fx import Tokenization, tokenize
from snipjit.passes.fx.patterns.recognise import Recognition

WIDTH = 32
OPTIONS: dict[str, Any] = {"fuse": ("attention", "linear")}


class Layer(nn.Module):
    """An encoder's layer: attention, its output with a residual, a wide layer and a narrow one."""

    def __init__(self, change: Callable[[Tensor], Tensor] = nn.functional.gelu) -> None:
        super().__init__()
        self.change = change
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 48), nn.Linear(48, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            of(x).view(*x.shape[:2], 2, 16).transpose(1, 2) for of in (self.q, self.k, self.v)
        )
        heads = nn.functional.scaled_dot_product_attention(q, k, v)
        x = self.norm(self.o(heads.transpose(1, 2).flatten(2)) + x)
        result: Tensor = self.norm(self.down(self.change(self.up(x))) + x)
        return result


class Gated(Layer):
    """Its wide layer is the gate of another one."""

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = super().forward(x) * torch.sigmoid(self.q(x)) + x
        return result


def encoder(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*layers).eval()


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


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[Tokenization]:
    """What the backend finds."""
    found: list[Tokenization] = []
    original = tokenize

    def kept(*args: Any) -> Tokenization:
        found.append(original(*args))
        return found[-1]

    monkeypatch.setattr(torch_backend, "tokenize", kept)
    return found


def compare(model: nn.Module) -> None:
    compiled = torch.compile(model, backend="snipjit", dynamic=True, options=OPTIONS)
    with torch.inference_mode():
        for length in (13, 31):
            x = torch.randn(2, length, WIDTH)
            torch.testing.assert_close(compiled(x), model(x), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [Layer, pytest.param(Gated, marks=pytest.mark.long)])
def test_further_layers_are_not_lifted(
    kind: type[Layer], lifted: list[str], tokens: list[Tokenization]
) -> None:
    """The first layers read what no layer has made; a later one is the pattern of all others."""
    compare(encoder(*(kind() for _ in range(4))))
    few, each = len(lifted), len(tokens[0].candidates) // 4
    lifted.clear()
    compare(encoder(*(kind() for _ in range(6))))
    found = tokens[-1].candidates
    assert len(found) == 6 * each
    assert len(lifted) == few
    assert len({id(candidate.subgraph) for candidate in found}) <= few


@pytest.mark.parametrize("number", [0, 2, 4])
def test_another_activation(number: int, lifted: list[str]) -> None:
    layers = [Layer() for _ in range(5)]
    layers[number].change = nn.functional.silu
    snipjit.reset_stats()
    compare(encoder(*layers))
    assert snipjit.stats().subgraphs == 5 * 5
    assert not snipjit.stats().refusals
    assert len(lifted) < 16


class ReadOnceMore(nn.Module):
    """Layers; what the wide product of the third makes is read once more behind all of them."""

    def __init__(self) -> None:
        super().__init__()
        third = Layer(self.keep)
        layers = [Layer(torch.relu) for _ in range(3)]
        self.layers = encoder(*layers[:2], third, layers[2])

    def keep(self, wide: Tensor) -> Tensor:
        self.kept = wide
        return wide.relu()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x) + self.kept.sum(-1, keepdim=True)
        return result


def test_values_that_are_read_elsewhere() -> None:
    compare(ReadOnceMore().eval())
