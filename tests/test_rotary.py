"""Rotary embeddings become a kernel, queries and keys together where they share their angles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import snipjit
from snipjit.ir.text.subgraph import print_subgraph
from snipjit.passes.fx import tokenize
from snipjit.passes.fx.patterns.elementwise import Elementwise
from tests.passes.fx.support import dynamo
from tests.roads import LONG, ROADS, compile_on
from tests.rotary_forms import FEATURES, ROTARIES, Rotary, rotate_half

pytestmark = pytest.mark.usefixtures("anew")

OPTIONS: dict[str, Any] = {"fuse": ["elementwise"]}
SIZES = ((3, 9), (4, 31), (3, 77), (13, 3))
RARE = ((1, 1), (1, 13), (2, 0))


def _compiled(rotary: Rotary, road: str, given: tuple[Tensor, ...]) -> Callable[..., Any]:
    dims = tuple({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO} for _ in given)
    return compile_on(rotary.model(), road, given, OPTIONS, (dims,))


def _compare(compiled: Callable[..., Any], rotary: Rotary, given: tuple[Tensor, ...]) -> None:
    """Shapes and strides are those of eager, values as near to float64 as float32 is."""
    model = rotary.model()
    exact = model(*(x.double() for x in given))
    for have, eager, want in zip(compiled(*given), model(*given), exact, strict=True):
        assert (have.shape, have.stride(), have.dtype) == (eager.shape, eager.stride(), eager.dtype)
        torch.testing.assert_close(have.double(), want.double(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", ROTARIES)
def test_forms(name: str, road: str) -> None:
    rotary = ROTARIES[name]
    compiled = _compiled(rotary, road, rotary.given(*SIZES[0]))
    sizes = SIZES[:1] if road == "static" else SIZES
    for size in sizes:
        _compare(compiled, rotary, rotary.given(*size))
    stats = snipjit.stats()
    assert stats.kernel_calls == stats.subgraphs * len(sizes)
    assert 0 < stats.subgraphs <= rotary.kernels  # exported, both may be one
    assert stats.refusals == ()


def test_single_tokens_and_none() -> None:
    rotary = ROTARIES["Llama"]
    compiled = _compiled(rotary, "dynamic", rotary.given(2, 9))
    for size in RARE:
        _compare(compiled, rotary, rotary.given(*size))


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=LONG)])
@pytest.mark.parametrize("name", ["Llama", "in float32"])
def test_16_bits(name: str, dtype: torch.dtype) -> None:
    """Computed in float32 and rounded once: no further from float64 than eager."""
    rotary = ROTARIES[name]
    given = rotary.given(3, 31, dtype)
    model, exact = rotary.model(), rotary.model()(*(x.double() for x in given))
    results = zip(_compiled(rotary, "dynamic", given)(*given), model(*given), exact, strict=True)
    for have, eager, want in results:
        bound = 1.01 * (eager.double() - want.double()).abs().max() + torch.finfo(dtype).eps
        assert have.dtype == dtype
        assert (have.double() - want.double()).abs().max() <= bound
    assert snipjit.stats().kernel_calls == 1


def test_what_is_lifted(golden: Callable[[str], None]) -> None:
    rotary = ROTARIES["Llama"]
    (graph,) = dynamo(rotary.model(), *rotary.given(3, 9))
    (candidate,) = tokenize(graph.gm, [Elementwise()]).candidates
    golden(print_subgraph(candidate.subgraph))


def _thirds(x: Tensor, y: Tensor) -> Tensor:
    """The parts are not halves: the chain behind reads what is joined."""
    n = FEATURES // 4
    return torch.cat((-x[..., n:], x[..., :n]), dim=-1) * y + x


def _of_two(x: Tensor, y: Tensor) -> Tensor:
    n = FEATURES // 2
    return torch.cat((-x[..., n:], y[..., :n]), dim=-1) * y + x


def _of_rows(x: Tensor, y: Tensor) -> Tensor:
    n = x.shape[0] // 2
    return torch.cat((-x[n:], x[:n])) * y + x


@pytest.mark.parametrize("function", [_thirds, _of_two, _of_rows])
def test_what_is_no_rotation(function: Callable[..., Tensor]) -> None:
    given = (torch.randn(4, 3, FEATURES), torch.randn(4, 3, FEATURES))
    report = snipjit.explain(function, *given, options=OPTIONS).details()
    assert "iota" not in report
    compiled = torch.compile(function, backend="snipjit", dynamic=True, options=OPTIONS)
    torch.testing.assert_close(compiled(*given), function(*given))


def test_complex_numbers_stay() -> None:
    def turned(x: Tensor, angle: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)

    x, angle = torch.randn(2, 9, FEATURES), torch.randn(2, 9, FEATURES // 2)
    compiled = torch.compile(turned, backend="snipjit", dynamic=True, options=OPTIONS)
    torch.testing.assert_close(compiled(x, angle), turned(x, angle))
    assert snipjit.stats().kernel_calls == 0


def test_odd_halves_and_strides() -> None:
    """What is rotated may lie in any way."""

    def turned(x: Tensor, c: Tensor, s: Tensor) -> Tensor:
        return x * c + rotate_half(x) * s

    compiled = torch.compile(turned, backend="snipjit", dynamic=True, options=OPTIONS)
    for features in (2, 6, 26, 80):
        wide = torch.randn(3, 5, 2 * features)
        c, s = torch.randn(2, 5, features)
        for x in (wide[..., ::2], wide[..., features:], wide[:, :, :features].transpose(0, 1)):
            given = (x, c, s) if x.shape[1] == 5 else (x, c[:, None], s[:, None])
            want = turned(*(one.double() for one in given))
            torch.testing.assert_close(compiled(*given).double(), want, rtol=1e-6, atol=1e-6)
