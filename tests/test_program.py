"""Programs: what a model changes, sizes that depend on one another, and where memory comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, export

import snipjit
from snipjit.errors import InputError


@pytest.fixture(autouse=True)
def _seeded(small_tiles: None) -> None:
    torch.manual_seed(0)


class Attention(nn.Module):
    """softmax(q kᵀ) k."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return torch.softmax(q @ k.transpose(-1, -2), -1) @ k


class Counting(nn.Module):
    """Attention that counts its calls, keeps the last query and doubles its first argument."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = nn.Buffer(torch.zeros(()))
        self.last = nn.Buffer(torch.zeros(1, 2, 1, 8))

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        self.calls.add_(1)
        self.last.copy_(q[:, :, -1:])
        q.mul_(2)
        return torch.softmax(q @ k.transpose(-1, -2), -1) @ k * self.calls, self.last + 0


@pytest.mark.parametrize("rest", ["eager", "inductor"])
def test_what_the_model_changes_is_changed(rest: str) -> None:
    exported = export(Counting(), (torch.randn(1, 2, 7, 8), torch.randn(1, 2, 7, 8)))
    options = {"rest": rest}
    program, other = (snipjit.compile(exported, options=options) for _ in range(2))
    module = Counting()
    for _ in range(3):
        q, k = torch.randn(2, 1, 2, 7, 8)
        ours, theirs = q.clone(), q.clone()
        torch.testing.assert_close(program(ours, k), module(theirs, k), rtol=1e-5, atol=1e-5)
        assert torch.equal(ours, theirs)
    assert torch.equal(exported.state_dict["calls"], torch.zeros(()))
    result, _ = other(q.clone(), k)
    torch.testing.assert_close(result, Attention()(2 * q, k), rtol=1e-5, atol=1e-5)


def test_sizes_made_of_others() -> None:
    length = Dim("length", min=2, max=100)
    inputs = (torch.randn(1, 2, 10, 8), torch.randn(1, 2, 21, 8))
    program = snipjit.compile(
        export(Attention(), inputs, dynamic_shapes=({2: length}, {2: 2 * length + 1}))
    )
    for queries, keys in ((2, 5), (13, 27), (100, 201)):
        q, k = torch.randn(1, 2, queries, 8), torch.randn(1, 2, keys, 8)
        torch.testing.assert_close(program(q, k), Attention()(q, k), rtol=1e-5, atol=1e-5)
    for queries, keys, accepted in (
        (10, 20, "5 to 201 in steps of 2"),
        (10, 23, "accepted: 21"),
        (1, 3, "2 to 100"),
        (101, 203, "2 to 100"),
    ):
        with pytest.raises(InputError, match=accepted):
            program(torch.randn(1, 2, queries, 8), torch.randn(1, 2, keys, 8))


def test_memory_is_on_the_cpu_whatever_the_default_is() -> None:
    q, k = torch.randn(1, 2, 8, 7).transpose(-1, -2), torch.randn(1, 2, 7, 8)
    program = snipjit.compile(Attention(), (q, k))
    with torch.device("meta"):
        result = program(q, k)
    torch.testing.assert_close(result, Attention()(q, k), rtol=1e-5, atol=1e-5)


class Remembering(nn.Module):
    """Returns a buffer that it replaces (an export writes to it instead); changes a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Buffer(torch.zeros(1, 2, 7, 8))
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        result = self.last
        self.last = Attention()(q * self.weight, k)
        with torch.no_grad():
            self.weight.add_(1)
        return result


@pytest.mark.parametrize("rest", ["eager", "inductor"])
def test_results_keep_what_they_were(rest: str) -> None:
    inputs = (torch.randn(1, 2, 7, 8), torch.randn(1, 2, 7, 8))
    example = Remembering()
    with torch.no_grad():
        module = export(Remembering(), inputs).module()
        program = snipjit.compile(example, inputs, options={"rest": rest})
    results, expected = [], []
    for _ in range(3):
        q, k = torch.randn(2, 1, 2, 7, 8)
        results.append(program(q, k))
        with torch.no_grad():
            expected.append(module(q, k).clone())
    torch.testing.assert_close(results, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(example.weight, torch.ones(8))


def test_no_backward_graph_is_compiled_for_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    enabled = []

    def compile_fx(gm: Any, examples: Any) -> Any:
        enabled.append(torch.is_grad_enabled())
        return gm.forward

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", compile_fx)
    inputs = (torch.randn(1, 2, 7, 8), torch.randn(1, 2, 7, 8))
    snipjit.compile(Attention(), inputs, options={"rest": "inductor"})
    assert enabled == [False]


class Merged(nn.Module):
    """Attention whose result has its last two dims merged: a size that is made of another."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        result: Tensor = Attention()(q, k).flatten(2)
        return result


def test_inductor_compiles_a_loaded_program(tmp_path: Path) -> None:
    length = Dim("length", min=2, max=100)
    q, k = torch.randn(2, 1, 2, 7, 8)
    path = tmp_path / "merged.pt2"
    torch.export.save(export(Merged(), (q, k), dynamic_shapes=({2: length}, None)), path)
    program = snipjit.compile(path, options={"rest": "inductor"})
    q = torch.randn(1, 2, 31, 8)
    torch.testing.assert_close(program(q, k), Merged()(q, k), rtol=1e-5, atol=1e-5)


class Sized(nn.Module):
    """Attention of two inputs whose lengths must be equal."""

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        result: Tensor = Attention()(q + k, k)
        return result


def test_examples_may_be_views() -> None:
    q, k = torch.randn(2, 1, 2, 31, 8)
    program = snipjit.compile(Sized(), (q[:, :, :7], k[:, :, :7]))
    torch.testing.assert_close(program(q, k), Sized()(q, k), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert program(q[:, :, :7], k[:, :, :7]).shape == (1, 2, 7, 8)
