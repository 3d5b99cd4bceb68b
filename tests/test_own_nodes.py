"""PyTorch's own nodes as one of the candidates: where the table says so, and the model has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F

import snipjit
from snipjit.runtime.engine import host_features
from snipjit.runtime.kernel_cache import STRUCTURES
from snipjit.target import candidates
from snipjit.target.target_machine import select


@pytest.fixture
def up_to_ten_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Calls of so few rows go to PyTorch, of structures that are made meanwhile."""
    monkeypatch.setitem(candidates.NODES, (select(host_features()).name, "streams"), 10)
    STRUCTURES.clear()
    torch._dynamo.reset()
    yield
    STRUCTURES.clear()
    torch._dynamo.reset()


def fused(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v) + 1.0


def written_out(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.softmax(q @ k.mT * 0.3, dim=-1) @ v


def heads(rows: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return [torch.randn(1, 2, rows, 16, generator=generator) for _ in range(3)]


@pytest.mark.parametrize(("model", "by_nodes"), [(fused, True), (written_out, False)])
def test_the_table_decides_call_by_call(
    up_to_ten_rows: None, model: Callable[..., torch.Tensor], by_nodes: bool
) -> None:
    """Results of PyTorch's nodes have eager's very bits; kernels compile only for other calls."""
    compiled = torch.compile(model, backend="snipjit", dynamic=True)
    snipjit.reset_stats()
    with torch.inference_mode():
        for rows in (7, 10, 7):
            result = compiled(*heads(rows))
            torch.testing.assert_close(result, model(*heads(rows)))
            assert torch.equal(result, model(*heads(rows))) or not by_nodes
        assert (snipjit.stats().kernels == 0) == by_nodes
        torch.testing.assert_close(compiled(*heads(40)), model(*heads(40)))
        assert snipjit.stats().kernels > 0


def test_inductor_gets_kernels(up_to_ten_rows: None) -> None:
    """Its graphs are laid out as kernels lay out results."""
    compiled = torch.compile(fused, backend="snipjit", dynamic=True, options={"rest": "inductor"})
    with torch.inference_mode():
        torch.testing.assert_close(compiled(*heads(7)), fused(*heads(7)))
    assert snipjit.stats().kernels > 0


@pytest.fixture
def two_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Calls of two rows of weights [k][n] go to PyTorch."""
    monkeypatch.setitem(candidates.NODES, (select(host_features()).name, "matrices"), 2)
    STRUCTURES.clear()
    torch._dynamo.reset()
    yield
    STRUCTURES.clear()
    torch._dynamo.reset()


@pytest.mark.all_patterns
@pytest.mark.parametrize("reshaped", [False, True])
def test_few_rows_of_a_matrix(two_rows: None, reshaped: bool) -> None:
    """Sizes that nodes have built in may be others of an equal layer: there the kernel does all."""

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = (
                torch.nn.Parameter(torch.randn(*s)) for s in ((48, 96), (96,))
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if reshaped:
                x = x.view(-1, 48)
            return torch.relu(torch.addmm(self.bias, x, self.weight))

    torch.manual_seed(0)
    model = Layer().eval()
    compiled = torch.compile(model, backend="snipjit", dynamic=True)
    snipjit.reset_stats()
    with torch.inference_mode():
        for rows in (2, 17, 2):
            x = torch.randn(rows, 48)
            torch.testing.assert_close(compiled(x), model(x))
            assert torch.equal(compiled(x), model(x)) or rows > 2
        assert snipjit.stats().subgraphs == 1
        assert snipjit.stats().kernels <= 1  # that of 17 rows


def test_none_of_streams() -> None:
    assert not [kind for _, kind in candidates.NODES if kind == "streams"]
