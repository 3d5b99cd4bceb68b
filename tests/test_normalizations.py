"""Normalizations become kernels, named and written out, compiled and exported."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import snipjit
from tests.normalization_forms import FORMS, Form
from tests.roads import LONG, ROADS, compile_on

pytestmark = pytest.mark.usefixtures("anew")

OPTIONS: dict[str, Any] = {"fuse": ["attention", "normalization"]}
SIZES = ((2, 9), (3, 31), (13, 17), (2, 77), (2, 2))


def _compiled(model: nn.Module, road: str, given: tuple[Tensor, ...]) -> Callable[..., Any]:
    return compile_on(model, road, given, OPTIONS)


def _listed(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _compare(
    compiled: Callable[..., Any], model: nn.Module, given: tuple[Tensor, ...], near: float = 4e-6
) -> None:
    """Shapes and strides are those of eager, values as near to float64 as float32 is."""
    expected = _listed(model(*given))
    exact = _listed(copy.deepcopy(model).double()(*(x.double() for x in given)))
    for have, eager, want in zip(_listed(compiled(*given)), expected, exact, strict=True):
        assert (have.shape, have.stride(), have.dtype) == (eager.shape, eager.stride(), eager.dtype)
        torch.testing.assert_close(have.double(), want, rtol=2e-5, atol=near)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str, road: str) -> None:
    form = FORMS[name]
    model = form.model()
    compiled = _compiled(model, road, form.given(*SIZES[0]))
    sizes = {"dynamic": SIZES, "static": SIZES[:1], "program": SIZES[::2]}[road]
    for size in sizes:
        _compare(compiled, model, form.given(*size))
    stats = snipjit.stats()
    assert stats.kernel_calls == form.kernels * len(sizes)
    assert not [one for one in stats.refusals if one.pattern == "normalization"]


@pytest.mark.parametrize("name", ["layer norm", "Llama", "residual"])
def test_single_rows_and_none(name: str) -> None:
    form = FORMS[name]
    model = form.model()
    compiled = _compiled(model, "dynamic", form.given(1, 1))
    for size in ((1, 1), (1, 31), (5, 1), (0, 7), (2, 0)):
        _compare(compiled, model, form.given(*size))


@pytest.mark.parametrize("name", ["layer norm", "Llama", "softmax", "normalize"])
@pytest.mark.parametrize(
    "value",
    [float("inf"), float("nan"), *(pytest.param(x, marks=LONG) for x in (-0.0, 1e-40, 1e20))],
)
def test_special_numbers(name: str, value: float) -> None:
    form = FORMS[name]
    model, (x,) = form.model(), form.given(2, 5)
    x[0, 2, 3] = value
    have = _compiled(model, "dynamic", (x,))(x)
    torch.testing.assert_close(have, model(x), equal_nan=True, rtol=2e-5, atol=4e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=LONG)])
@pytest.mark.parametrize("name", ["layer norm", "Llama", "residual", "softmax"])
def test_16_bits(name: str, dtype: torch.dtype) -> None:
    """Computed in float32 and rounded once: no further from float64 than eager."""
    form = FORMS[name]
    model, given = form.model().to(dtype), [x.to(dtype) for x in form.given(3, 31)]
    compiled = _compiled(model, "dynamic", tuple(given))
    exact = _listed(copy.deepcopy(model).double()(*(x.double() for x in given)))
    for have, eager, want in zip(
        _listed(compiled(*given)), _listed(model(*given)), exact, strict=True
    ):
        assert have.dtype == dtype
        bound = 1.01 * (eager.double() - want).abs().max() + torch.finfo(dtype).eps
        assert (have.double() - want).abs().max() <= bound
    assert snipjit.stats().kernel_calls == 1


def test_a_sum_that_others_read_is_a_second_result() -> None:
    form = FORMS["block"]
    report = snipjit.explain(form.model(), *form.given(2, 9), options={"fuse": ["normalization"]})
    assert "%r1 = result" in report.details()


def test_equal_layers_share_a_kernel() -> None:
    model = nn.Sequential(*(nn.LayerNorm(24, eps=10**-n) for n in range(1, 6)))
    (x,) = FORMS["layer norm"].given(2, 9)
    _compare(_compiled(model, "dynamic", (x,)), model, (x,))
    stats = snipjit.stats()
    assert stats.subgraphs == 5
    assert stats.kernels_compiled <= 1


def test_strides() -> None:
    """Views that lie in any way are read where they lie."""
    form = FORMS["residual"]
    model = form.model()
    compiled = _compiled(model, "dynamic", form.given(2, 9))
    x, r = form.given(9, 2)
    for a, b in ((x.transpose(0, 1), r.transpose(0, 1)), (x[:, :1], r[:, 1:])):
        have, want = compiled(a, b), model(a.contiguous(), b.contiguous())
        torch.testing.assert_close(have, want, rtol=2e-5, atol=4e-6)


STAY: dict[str, tuple[Form, str]] = {
    "channels last": (
        Form(
            lambda m, x: F.silu(m.n(x.permute(2, 0, 1)[None])),
            lambda: {"n": nn.GroupNorm(3, 24)},
        ),
        "channels innermost",
    ),
    "image alone": (
        Form(
            lambda m, x: m.n(x.reshape(-1, 6, x.shape[1], 4).mT.transpose(0, 3)),
            lambda: {"n": nn.GroupNorm(3, 6)},
        ),
        "which PyTorch does as fast",
    ),
    "unknown sizes apart": (
        Form(
            lambda m, x: F.silu(m.n(x.reshape(*x.shape[:2], 6, 4).permute(2, 0, 3, 1)[None])),
            lambda: {"n": nn.GroupNorm(3, 6)},
        ),
        "several dims of sizes that are not known",
    ),
    "softmax alone": (Form(lambda m, x: x.softmax(-1)), "which PyTorch does as fast"),
    "norm of order 1": (
        Form(lambda m, x: F.normalize(x, p=1.0, dim=-1)),
        "a norm of order 1.0; accepted: 2",
    ),
}


@pytest.mark.parametrize("name", ["softmax of rows", "mean of a gate", "layer norm"])
def test_sizes_of_none_are_pytorchs(name: str) -> None:
    form = FORMS[name]
    model, given = form.model(), form.given(2, 0)
    compiled = _compiled(model, "dynamic", given)
    torch.testing.assert_close(compiled(*given), model(*given), equal_nan=True)
    refusals = [one for one in snipjit.stats().refusals if one.pattern == "normalization"]
    assert all("is empty; accepted: sizes from 1" in one.reason for one in refusals)
    assert refusals
    assert snipjit.stats().subgraphs == 0


@pytest.mark.parametrize("name", STAY)
def test_what_stays(name: str) -> None:
    form, reason = STAY[name]
    given = form.given(2, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = _compiled(form.model(), "dynamic", given)
        assert torch.equal(compiled(*given), form.model()(*given))
    refusals = [one for one in snipjit.stats().refusals if one.pattern == "normalization"]
    assert reason in refusals[0].reason


def test_pooling_is_no_normalization() -> None:
    model, (x,) = Form(lambda m, x: x.mean(1)).model(), FORMS["softmax"].given(2, 9)
    assert torch.equal(_compiled(model, "dynamic", (x,))(x), model(x))
    assert snipjit.stats().refusals == ()


def test_gradients_keep_the_nodes() -> None:
    model, given = FORMS["layer norm"].model(), FORMS["layer norm"].given(2, 9)
    with torch.enable_grad(), pytest.warns(UserWarning, match="normalization"):
        _compiled(model, "dynamic", given)(*given).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
