"""Chains of elementwise operations become one kernel each, compiled and exported."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snipjit
from snipjit.passes.fx import tokenize
from snipjit.passes.fx.patterns.elementwise import Elementwise
from tests.elementwise_forms import CHAINS, WIDTH, Chain
from tests.roads import LONG, ROADS, compile_on
from tests.traces import Trace

pytestmark = pytest.mark.usefixtures("anew")

OPTIONS: dict[str, Any] = {"fuse": ["elementwise"]}
SIZES = ((2, 9), (3, 31), (13, 17), (2, 77), (2, 2))
RARE = ((1, 1), (1, 31), (0, 7), (2, 0))


def _compiled(model: nn.Module, road: str, given: tuple[Tensor, ...]) -> Callable[..., Any]:
    return compile_on(model, road, given, OPTIONS)


def _listed(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _compare(compiled: Callable[..., Any], model: nn.Module, given: tuple[Tensor, ...]) -> None:
    """Shapes and strides are those of eager, values as near to float64 as float32 is."""
    expected = _listed(model(*given))
    exact = _listed(copy.deepcopy(model).double()(*(x.double() for x in given)))
    for have, eager, want in zip(_listed(compiled(*given)), expected, exact, strict=True):
        assert (have.shape, have.stride(), have.dtype) == (eager.shape, eager.stride(), eager.dtype)
        if have.dtype == torch.bool:
            assert torch.equal(have, want)
        else:
            torch.testing.assert_close(have.double(), want.double(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", CHAINS)
def test_forms(name: str, road: str) -> None:
    chain = CHAINS[name]
    model = chain.model()
    compiled = _compiled(model, road, chain.given(*SIZES[0]))
    sizes = {"dynamic": SIZES, "static": SIZES[:1], "program": SIZES[:5:2]}[road]
    for size in sizes:
        _compare(compiled, model, chain.given(*size))
    stats = snipjit.stats()
    if road != "static":  # few elements stay with PyTorch where that is known
        assert stats.subgraphs == chain.kernels
    assert all(refusal.is_expected for refusal in stats.refusals)


@pytest.mark.parametrize("name", ["gate", "layer scale", "with a sum"])
def test_single_rows_and_none(name: str) -> None:
    chain = CHAINS[name]
    model = chain.model()
    compiled = _compiled(model, "dynamic", chain.given(2, 9))
    for size in RARE:
        _compare(compiled, model, chain.given(*size))


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=LONG)])
@pytest.mark.parametrize("name", ["gate", "gelu by tanh", "with a sum", "modulated", "halves"])
def test_16_bits(name: str, dtype: torch.dtype) -> None:
    """Computed in float32 and rounded once: no further from float64 than eager."""
    chain = CHAINS[name]
    model, given = chain.model().to(dtype), tuple(x.to(dtype) for x in chain.given(3, 31))
    compiled = _compiled(model, "dynamic", given)
    exact = _listed(copy.deepcopy(model).double()(*(x.double() for x in given)))
    results = zip(_listed(compiled(*given)), _listed(model(*given)), exact, strict=True)
    for have, eager, want in results:
        assert have.dtype == dtype
        bound = 1.01 * (eager.double() - want).abs().max() + torch.finfo(dtype).eps
        assert (have.double() - want).abs().max() <= bound
    assert snipjit.stats().kernel_calls == 1


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -0.0, 1e-40, 3e38])
def test_special_numbers(value: float) -> None:
    chain = CHAINS["gate"]
    model, (a, b, r) = chain.model(), chain.given(2, 5)
    for x in (a, b, r):
        x[0, 2, 3] = value
    have = _compiled(model, "dynamic", (a, b, r))(a, b, r)
    torch.testing.assert_close(have, model(a, b, r), equal_nan=True, rtol=2e-5, atol=2e-6)


def test_strides_and_broadcasts() -> None:
    """Operands that lie in any way are read where they lie; any dim may be 1."""
    chain = CHAINS["gate"]
    model = chain.model()
    compiled = _compiled(model, "dynamic", chain.given(2, 9))
    a, b, r = chain.given(9, 4)
    wide = torch.randn(9, 4, 2 * WIDTH)
    views = (
        (a.transpose(0, 1), b.transpose(0, 1), r.transpose(0, 1)),
        (wide[..., ::2], b, r),
        (wide[..., WIDTH:], b[:, ::2].repeat(1, 2, 1), r),
        (a[:1], b, r),
        (a, b[:, :1], r[:1, :1]),
        (a.expand(9, 4, WIDTH), b[:1, :1].expand(9, 4, WIDTH), r),
    )
    for given in views:
        want = model(*(x.double() for x in given))
        torch.testing.assert_close(compiled(*given).double(), want, rtol=2e-5, atol=2e-6)


def test_equal_layers_share_a_kernel() -> None:
    model = nn.Sequential(*(CHAINS["gelu by tanh"].model() for _ in range(5)))
    cuts = nn.Sequential(*(part for layer in model for part in (layer, nn.Softmax(-1))))
    (x,) = CHAINS["gelu by tanh"].given(2, 9)
    _compare(_compiled(cuts, "dynamic", (x,)), cuts, (x,))
    stats = snipjit.stats()
    assert stats.subgraphs == 5
    assert stats.kernels_compiled <= 1


def _written_later(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    x.add_(1)
    return y + 3


STAY: dict[str, tuple[Chain, str]] = {
    "alone": (Chain(lambda m, x: F.relu(x)), ""),
    "between others": (Chain(lambda m, x: (x * 2).softmax(-1).exp().cumsum(-1)), ""),
    "whole numbers": (Chain(lambda m, x: (x.long() * 3 + 1) & 7), ""),
    "at random": (Chain(lambda m, x: F.dropout(x * 2, 0.5, True) * 0), ""),
    "one number": (Chain(lambda m, x: x.mean().exp() * 2 + 1), ""),
    "written between": (Chain(_written_later), "changes an operand in place"),
    "written": (Chain(lambda m, x: (x * 2).add_(1).mul_(3)), ""),
}


@pytest.mark.parametrize("name", STAY)
def test_what_stays(name: str) -> None:
    chain, reason = STAY[name]
    (given,) = chain.given(2, 9)
    compiled = _compiled(chain.model(), "dynamic", (given.clone(),))
    assert torch.equal(compiled(given.clone()), chain.model()(given.clone()))
    assert snipjit.stats().kernel_calls == 0
    reasons = [one.reason for one in snipjit.stats().refusals]
    assert reason in reasons[0] if reason else not reasons


def test_few_elements_stay() -> None:
    """Where sizes are known and operations are two."""
    chain = CHAINS["layer scale"]
    given = chain.given(2, 9)
    assert torch.equal(_compiled(chain.model(), "static", given)(*given), chain.model()(*given))
    (refusal,) = snipjit.stats().refusals
    assert "2 operations on 432 elements" in refusal.reason
    assert refusal.is_expected


def test_gradients_keep_the_nodes() -> None:
    chain = CHAINS["gate"]
    model, given = chain.model(), tuple(x.requires_grad_() for x in chain.given(2, 9))
    with torch.enable_grad(), pytest.warns(UserWarning, match="elementwise chains"):
        _compiled(model, "dynamic", given)(*given).sum().backward()
    assert all(x.grad is not None for x in given)


def test_a_chain_that_is_too_long_is_refused() -> None:
    """Lifting goes up operation by operation, and Python's stack has an end."""
    trace = Trace(False)
    x, y = trace.input(torch.randn(64, 64)), trace.input(torch.randn(64, 64))
    for _ in range(400):
        x = trace("add", trace("mul", x, y), x)
    found = tokenize(trace.module(x), [Elementwise()])
    assert not found.candidates
    (refusal,) = found.refusals
    assert "too many operations" in refusal.reason
