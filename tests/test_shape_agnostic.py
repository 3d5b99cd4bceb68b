"""One kernel for every shape, layer, model and thread; around it, what users meet first."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

import snipjit
from snipjit.runtime.kernel_cache import KERNELS, STRUCTURES
from tests.exported_models import TinyAttention, tiny_attention

Function = Callable[..., torch.Tensor]
Heads = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(autouse=True)
def _from_zero(two_threads: None, small_tiles: None) -> Iterator[None]:
    torch._dynamo.reset()
    KERNELS.clear()
    STRUCTURES.clear()
    snipjit.reset_stats()
    torch.manual_seed(0)
    yield
    torch._dynamo.reset()


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) * 0.25, dim=-1) @ v


def heads(length: int, batch: int = 2) -> Heads:
    q, k, v = torch.randn(3, batch, 3, length, 8)
    return q, k, v


def compiled(function: Any, dynamic: bool | None = True, **more: Any) -> Function:
    result: Function = torch.compile(function, backend="snipjit", dynamic=dynamic, **more)
    return result


class Layer(torch.nn.Module):
    """[B, S, 24] to [B, S, 24] by one attention of 3 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.nn.Linear(24, 72)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        parts = self.projection(x).view(batch, length, 3, 3, 8).permute(2, 0, 3, 1, 4)
        merged = attention(*parts.unbind(0)).transpose(1, 2)
        return merged.reshape(batch, length, 24)


class Reversed(torch.nn.Module):
    """Another model around an equal attention: the values come first."""

    def forward(self, v: torch.Tensor, k: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        return torch.cumsum(attention(q, k, v), dim=-1)


def test_each_head_size_has_its_kernel_until_they_are_many() -> None:
    run = compiled(attention)
    for size in (8, 8, 5, 16, 2, 24, 3, 8):
        for length in (5, 19):
            q, k, v = torch.randn(3, 2, 3, length, size)
            torch.testing.assert_close(run(q, k, v), attention(q, k, v))
    # Four sizes, 24 and 3 together, and nothing for another length.
    assert snipjit.stats().kernels_compiled == 5
    assert snipjit.stats().subgraphs == 1


def test_a_static_head_size_shares_the_kernel_of_a_dynamic_one() -> None:
    q, k, v = heads(7)
    assert compiled(attention)(q, k, v).shape == q.shape
    assert compiled(attention, dynamic=False)(q, k, v).shape == q.shape
    assert snipjit.stats().kernels_compiled == 1


def test_500_lengths_compile_once() -> None:
    run = compiled(attention)
    inputs = {length: heads(length) for length in range(20, 520)}
    for call in range(2000):
        length = 20 + call * 7 % 500
        got = run(*inputs[length])
        if call % 41 == 0:
            torch.testing.assert_close(got, attention(*inputs[length]))
    stats = snipjit.stats()
    assert (stats.subgraphs, stats.kernels_compiled, stats.kernel_calls) == (1, 1, 2000)
    assert stats.configurations <= 500


def test_twelve_layers_share_a_kernel() -> None:
    model = torch.nn.Sequential(*(Layer() for _ in range(12))).eval()
    run = compiled(model)
    with torch.no_grad():
        for length in (20, 33):
            x = torch.randn(2, length, 24)
            torch.testing.assert_close(run(x), model(x), rtol=1e-4, atol=1e-5)
    stats = snipjit.stats()
    assert (stats.subgraphs, stats.kernels_compiled) == (12, 1)
    assert (stats.kernel_calls, stats.configurations) == (24, 2)


def test_static_and_dynamic_traces_share_a_kernel() -> None:
    """Asked for by name: what Dynamo decides by itself depends on what it has seen."""
    for dynamic, lengths in ((False, (20,)), (True, (33, 47))):
        run = compiled(attention, dynamic=dynamic)
        for length in lengths:
            inputs = heads(length)
            torch.testing.assert_close(run(*inputs), attention(*inputs))
        torch._dynamo.reset()
    assert (snipjit.stats().subgraphs, snipjit.stats().kernels_compiled) == (2, 1)


def test_another_thread_and_another_model_share_a_kernel() -> None:
    compiled(attention)(*heads(20))
    inputs, results = heads(33), []
    thread = threading.Thread(target=lambda: results.append(compiled(Reversed())(*inputs)))
    thread.start()
    thread.join()
    torch.testing.assert_close(results[0], Reversed()(*inputs))
    assert (snipjit.stats().subgraphs, snipjit.stats().kernels_compiled) == (2, 1)


def test_calls_from_four_threads_at_once() -> None:
    run = compiled(attention)
    inputs = [heads(length, batch) for length in range(20, 60) for batch in (2, 5)]
    start = threading.Barrier(4)

    def calls(part: int) -> list[torch.Tensor]:
        start.wait()
        return [run(*qkv) for qkv in inputs[part::4]]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(calls, range(4)))
    for part, outputs in enumerate(results):
        for qkv, got in zip(inputs[part::4], outputs, strict=True):
            torch.testing.assert_close(got, attention(*qkv))
    stats = snipjit.stats()
    assert (stats.kernels_compiled, stats.kernel_calls) == (1, len(inputs))


@pytest.mark.parametrize(("batch", "rows", "keys"), [(0, 20, 33), (2, 0, 33), (2, 20, 0)])
def test_empty_as_in_eager(batch: int, rows: int, keys: int) -> None:
    run = compiled(attention)
    run(*heads(47))
    q, k, v = (torch.randn(batch, 3, length, 8) for length in (rows, keys, keys))
    torch.testing.assert_close(run(q, k, v), attention(q, k, v), equal_nan=True)
    assert snipjit.stats().kernels_compiled == 1


def _gradients(model: torch.nn.Module, run: Function, x: torch.Tensor) -> Sequence[torch.Tensor]:
    return torch.autograd.grad(run(x).square().sum(), tuple(model.parameters()))


def test_gradients_are_those_of_eager() -> None:
    model, x = Layer(), torch.randn(2, 20, 24)
    want = _gradients(model, model, x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got = _gradients(model, compiled(model), x)
    assert len(got) == 2
    torch.testing.assert_close(got, want)
    assert sum("torch.no_grad()" in str(warning.message) for warning in caught) == 1
    stats = snipjit.stats()
    assert (stats.subgraphs, stats.kernels_compiled, len(stats.refusals)) == (0, 0, 1)
    assert "torch.no_grad()" in stats.refusals[0].reason


def test_no_grad_after_grad_compiles() -> None:
    model, x = Layer(), torch.randn(2, 20, 24)
    run = compiled(model)
    with pytest.warns(UserWarning, match=r"torch\.no_grad\(\)"):
        want = run(x)
    with torch.no_grad():
        torch.testing.assert_close(run(x), want)
    assert snipjit.stats().subgraphs == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"options": {"tiles": 3}}, "unknown option 'tiles'; accepted: rest"),
        ({"options": {"rest": "jax"}}, "option rest='jax' is not one of 'eager', 'inductor'"),
        ({"mode": "max-autotune"}, "mode='max-autotune'"),
    ],
)
def test_option_errors_name_the_option(more: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendCompilerFailed) as failure:
        compiled(attention, **more)(*heads(20))
    assert isinstance(failure.value.inner_exception, snipjit.OptionError)
    assert message in str(failure.value)


def test_program_of_a_function() -> None:
    program = snipjit.compile(attention, heads(20))
    for length, batch in ((20, 2), (33, 5), (130, 3)):
        inputs = heads(length, batch)
        torch.testing.assert_close(program(*inputs), attention(*inputs))
    assert snipjit.stats().kernels_compiled == 1


def tiny_inputs(batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ids = torch.randint(100, (batch, length))
    return ids, torch.randn(batch, length), ids % 3


@pytest.fixture
def tiny_model() -> TinyAttention:
    """The module that ``tiny_attention()`` was exported from."""
    torch.manual_seed(0)
    return TinyAttention().eval()


def _compile_as(way: str, model: TinyAttention, path: Path) -> snipjit.Program:
    if way == "module":
        ids, mask, kinds = tiny_inputs(2, 7)
        return snipjit.compile(model, (ids, mask), {"kinds": kinds})
    if way == "exported":
        return snipjit.compile(tiny_attention())
    torch.export.save(tiny_attention(), path)
    return snipjit.compile(str(path) if way == "pt2 name" else path)


@pytest.mark.parametrize("way", ["module", "exported", "pt2", "pt2 name"])
def test_programs_of_a_module(way: str, tiny_model: TinyAttention, tmp_path: Path) -> None:
    program = _compile_as(way, tiny_model, tmp_path / "tiny.pt2")
    for batch, length in ((2, 7), (5, 33), (3, 130)):
        ids, mask, kinds = tiny_inputs(batch, length)
        with torch.no_grad():
            want = tiny_model(ids, mask, kinds=kinds)
        torch.testing.assert_close(program(ids, mask, kinds=kinds), want)
    assert (snipjit.stats().subgraphs, snipjit.stats().kernels_compiled) == (1, 1)


@pytest.fixture(scope="module")
def tiny_program() -> snipjit.Program:
    return snipjit.compile(tiny_attention())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids, mask: (ids.int(), mask), "'ids' is torch.int32 of rank 2"),
        (lambda ids, mask: (ids, mask.double()), "'mask' is torch.float64 of rank 2"),
        (lambda ids, mask: (ids, mask[0]), "'mask' is torch.float32 of rank 1"),
        (lambda ids, mask: (ids, mask[:, 1:]), "dim 1 of input 'mask' has size 6; accepted: 7"),
        (lambda ids, mask: (ids, None), "'mask' is a NoneType: pass a tensor"),
        (lambda ids, mask: (ids,), "the program takes the inputs ids, mask, kinds"),
        (lambda ids, mask: (ids, mask, ids), "the program takes the inputs ids, mask, kinds"),
    ],
)
def test_wrong_inputs(tiny_program: snipjit.Program, change: Any, message: str) -> None:
    ids, mask, kinds = tiny_inputs(2, 7)
    with pytest.raises(snipjit.InputError) as failure:
        tiny_program(*change(ids, mask), kinds=kinds)
    assert message in str(failure.value)


@pytest.mark.parametrize(
    ("batch", "length", "message"),
    [
        (65, 7, "dim 0 of input 'ids' has size 65; accepted: 1 to 64"),
        (2, 513, "dim 1 of input 'ids' has size 513; accepted: 2 to 512"),
        (2, 1, "dim 1 of input 'ids' has size 1; accepted: 2 to 512"),
    ],
)
def test_sizes_out_of_range(
    tiny_program: snipjit.Program, batch: int, length: int, message: str
) -> None:
    ids, mask, kinds = tiny_inputs(batch, length)
    with pytest.raises(snipjit.InputError) as failure:
        tiny_program(ids, mask, kinds=kinds)
    assert message in str(failure.value)


class OutOfOrder(torch.nn.Module):
    """Keyword inputs of different ranks."""

    def forward(self, q: torch.Tensor, *, bias: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return attention(q, k, k) + bias[:, None]


@pytest.mark.parametrize(
    "names",
    [("bias", "k"), ("k", "bias")],
)
def test_keyword_inputs_in_any_order(names: tuple[str, str]) -> None:
    def inputs(length: int) -> dict[str, torch.Tensor]:
        return {"bias": torch.randn(length), "k": torch.randn(2, 3, length, 8)}

    given, q, model = inputs(20), torch.randn(2, 3, 20, 8), OutOfOrder()
    program = snipjit.compile(model, (q,), {name: given[name] for name in names})
    given, q = inputs(33), torch.randn(2, 3, 33, 8)
    torch.testing.assert_close(program(q, **given), model(q, **given))


@pytest.mark.parametrize("places", [0, 1])
def test_program_of_a_function_with_keywords(places: int) -> None:
    names = ("q", "k", "v")[places:]
    inputs = heads(20)
    by_name = dict(zip(names, inputs[places:], strict=True))
    program = snipjit.compile(attention, inputs[:places], by_name)
    inputs = heads(33)
    by_name = dict(zip(names, inputs[places:], strict=True))
    torch.testing.assert_close(program(*inputs[:places], **by_name), attention(*inputs))
