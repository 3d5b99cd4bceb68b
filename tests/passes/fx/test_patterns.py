"""A pattern from outside, in one file: MLPs of a model become kernels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import pytest
import torch
from torch import Tensor, fx, nn

import snipjit
from snipjit.passes import fx as tokenization
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.products import PRODUCTS
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.refused import ExpectedError
from snipjit.passes.fx.patterns.pattern import Pattern, Region

SIZES = (1, 13, 17, 31, 77)


class Mlp(Pattern):
    """Product ▸ gelu ▸ product, with elementwise functions between."""

    name = "mlp"

    def is_anchor(self, flow: ValueFlow, node: fx.Node) -> bool:
        return _op(node) == "gelu"

    def regions(
        self, flow: ValueFlow, anchor: fx.Node, taken: Collection[fx.Node]
    ) -> Sequence[Region]:
        above = list(_ways(flow, anchor, up=True))
        below = list(_ways(flow, anchor, up=False))
        if _op(above[-1]) not in PRODUCTS or _op(below[-1]) not in PRODUCTS:
            raise ExpectedError(f"`{anchor.name}` stands between no products; accepted: linear")
        return [Region((*reversed(above), anchor, *below), (below[-1],))]


def _ways(flow: ValueFlow, node: fx.Node, up: bool) -> Iterator[fx.Node]:
    """The nodes up to the next product, or to what else is there."""
    while True:
        near = flow.operands(node)[:1] if up else flow.consumers(node)
        if len(near) != 1:
            raise ExpectedError(f"`{node.name}` has {len(near)} readers; accepted: one")
        node = near[0]
        yield node
        if not is_elementwise(_op(node)):
            return


def _op(node: fx.Node) -> str:
    call = lookup(node)
    return call.op if call is not None else ""


class Block(nn.Module):
    """Attention's neighbours in a transformer, with a residual sum."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(24)
        self.up, self.down = nn.Linear(24, 40, bias), nn.Linear(40, 24, bias)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.down(nn.functional.gelu(self.up(self.norm(x))))
        return result


class Transposed(nn.Module):
    """The same with weights of the other order, as GPT-2 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(24, 40) / 5)
        self.down = nn.Parameter(torch.randn(40, 24) / 6)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.gelu(x @ self.up, approximate="tanh") @ self.down


@pytest.fixture
def mlp(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(tokenization, "PATTERNS", (*tokenization.PATTERNS, Mlp()))


MODELS = {
    "bias": lambda: nn.Sequential(Block(True), Block(True), Block(True)),
    "no bias": lambda: nn.Sequential(Block(False), Block(False), Block(False)),
    "transposed": lambda: nn.Sequential(Transposed(), Transposed(), Transposed()),
}


@pytest.mark.usefixtures("mlp")
@pytest.mark.parametrize("name", MODELS)
def test_mlps_become_kernels(name: str) -> None:
    model = MODELS[name]().eval()
    torch.compiler.reset()
    snipjit.reset_stats()
    compiled = torch.compile(model, backend="snipjit", dynamic=True)
    with torch.no_grad():
        for size in SIZES:
            x = torch.randn(2, size, 24)
            torch.testing.assert_close(compiled(x), model(x), atol=2e-6, rtol=2e-5)
    assert snipjit.stats().subgraphs >= 3
    assert not snipjit.stats().refusals


@pytest.mark.usefixtures("mlp")
@pytest.mark.parametrize("name", MODELS)
def test_exported_mlps_become_kernels(name: str) -> None:
    model = MODELS[name]().eval()
    snipjit.reset_stats()
    program = snipjit.compile(model, (torch.randn(2, 9, 24),))
    for size in SIZES[1:]:
        x = torch.randn(3, size, 24)
        with torch.no_grad():
            torch.testing.assert_close(program(x), model(x), atol=2e-6, rtol=2e-5)
    assert snipjit.stats().subgraphs == 3


def test_without_the_pattern_nothing_is_taken() -> None:
    model = MODELS["bias"]().eval()
    snipjit.reset_stats()
    snipjit.compile(model, (torch.randn(2, 9, 24),))
    assert snipjit.stats().subgraphs == 0
