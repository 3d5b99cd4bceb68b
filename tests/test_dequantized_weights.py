"""Linear layers whose weights are of 8 bits, dequantized: as exact as eager, or refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import snipjit
from snipjit.runtime.prepared_weights import prepared_bytes
from tests.dequantized_forms import FORMS, NEAR, Function, Quantized, per_group

FLOATS = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
ROUNDING = {torch.float32: 2.0**-22, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
KINDS = {"i8": torch.int8, "u8": torch.uint8}
FLOAT8 = {"f8e4m3fn": torch.float8_e4m3fn, "f8e5m2": torch.float8_e5m2}
COMPUTED = ("per tensor, converted last", "per channel, promoted", "per channel, zero of 32 bits")
"""What computes with the integers themselves."""
QUICK = ("per channel", "per tensor, zero", "per group, zero", "several")
OPTIONS: dict[str, Any] = {"fuse": ["linear"]}


@pytest.fixture(autouse=True)
def _fresh(fresh: None) -> None:
    """Nothing traced or counted before."""


def _cases() -> list[Any]:
    return [
        pytest.param(name, dtype, kind, marks=[] if quick else pytest.mark.long)
        for number, name in enumerate(FORMS)
        for turn, (dtype, kind) in enumerate((d, k) for d in FLOATS for k in KINDS)
        for quick in [(name in QUICK and (number + turn) % 3 == 0) or turn == number % 6]
    ]


def _listed(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple | list) else [result]


def check(model: Quantized, compiled: Any, lengths: tuple[int, ...] = (9, 1, 31)) -> None:
    """Results are no further from float64 than a rounding of the sum of magnitudes, or eager's."""
    exact, dtype = copy.deepcopy(model).exact(), model.dtype
    with torch.inference_mode():
        for length in lengths:
            x = model.input(length)
            results = zip(*map(_listed, (compiled(x), model(x), exact(x.double()))), strict=True)
            for have, eager, want in results:
                assert (have.dtype, have.shape) == (eager.dtype, eager.shape)
                error = (eager.double() - want).abs().max().item()
                slack = max(error, 8 * ROUNDING[torch.float32] * want.abs().max().item())
                torch.testing.assert_close(
                    have.double(), want, rtol=1.01 * ROUNDING[dtype], atol=slack
                )


def _compiled(model: Any, **options: Any) -> Any:
    chosen = {**OPTIONS, **options}
    return torch.compile(model, backend="snipjit", dynamic=True, options=chosen)


@pytest.mark.parametrize(("name", "dtype", "kind"), _cases())
def test_forms(name: str, dtype: str, kind: str) -> None:
    model = Quantized(FORMS[name], FLOATS[dtype], KINDS[kind]).eval()
    check(model, _compiled(model))
    stats = snipjit.stats()
    assert not stats.refusals
    assert stats.patterns == {"linear": 2}  # of a length of 1, and of others


def _float8_cases() -> list[Any]:
    return [
        pytest.param(name, kind, marks=[] if name in QUICK else pytest.mark.long)
        for name in FORMS
        for kind in FLOAT8
        if name not in COMPUTED
    ]


@pytest.mark.parametrize(("name", "kind"), _float8_cases())
def test_forms_of_float8(name: str, kind: str) -> None:
    dtype = [*FLOATS.values()][[*FORMS].index(name) % 3]
    model = Quantized(FORMS[name], dtype, FLOAT8[kind]).eval()
    check(model, _compiled(model), (9, 1))
    assert not snipjit.stats().refusals
    assert snipjit.stats().patterns == {"linear": 2}


@pytest.mark.parametrize("kind", ["i8", *FLOAT8])
@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("weights", ["in_place", "prepared"])
def test_exported(name: str, weights: str, kind: str) -> None:
    model = Quantized(FORMS[name], kind={**KINDS, **FLOAT8}[kind]).eval()
    options = {**OPTIONS, "weights": weights}
    program = snipjit.compile(model, (model.input(7),), options=options)
    check(model, program, (9, 31))
    assert snipjit.stats().patterns == {"linear": 1}


@pytest.mark.parametrize("kind", ["i8", "f8e4m3fn"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", QUICK)
def test_prepared_weights_stay_narrow(name: str, dtype: str, kind: str) -> None:
    model = Quantized(FORMS[name], FLOATS[dtype], {**KINDS, **FLOAT8}[kind]).eval()
    check(model, _compiled(model, weights="prepared"), (9, 1, 31, 200))
    most = 2 * (model.n + 64) * (model.k + 4 * model.k // model.group)
    assert prepared_bytes() <= most
    if name == "per channel":
        assert prepared_bytes() >= model.n * model.k


@pytest.mark.parametrize("name", NEAR)
def test_near_misses_are_refused_by_name(name: str) -> None:
    near = NEAR[name]
    model = Quantized(near.function).eval()
    compiled = _compiled(model)
    x = model.input(9)
    with torch.inference_mode():
        with pytest.warns(UserWarning, match="left all linear layers"):
            have = compiled(x)
        torch.testing.assert_close(have, model(x))
    (refusal,) = snipjit.stats().refusals
    assert near.reason in refusal.reason
    assert "accepted: " in refusal.reason


def test_scales_of_another_shape() -> None:
    """Scales that make more elements of a weight than it has, as broadcasting may."""
    model = Quantized(lambda m, x: F.linear(x, (m.w[:1].to(x.dtype) * m.s[:, None]))).eval()
    check(model, _compiled(model))


CALLS: dict[str, Function] = {
    "per tensor": lambda m, x: torch.ops.quantized_decomposed.dequantize_per_tensor(
        m.w, 0.003, 12, -128, 127, torch.int8
    ),
    "per tensor, of tensors": lambda m, x: torch.ops.quantized_decomposed.dequantize_per_tensor(
        m.w, m.s1, m.z1.long(), -128, 127, torch.int8
    ),
    "per channel": lambda m, x: torch.ops.quantized_decomposed.dequantize_per_channel(
        m.w, m.s, m.z.long(), 0, -128, 127, torch.int8
    ),
    "per channel, of float64": lambda m, x: torch.ops.quantized_decomposed.dequantize_per_channel(
        m.w, m.s.double(), None, 0, -128, 127, torch.int8
    ),
    "per group": lambda m, x: torch.ops.quantized_decomposed.dequantize_per_channel_group(
        m.w, m.sg, m.zg.int(), -128, 127, torch.int8, m.group, torch.float32
    ),
}
"""Weights as programs that were exported from quantized models have them."""


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("exported", [False, True], ids=["compiled", "exported"])
def test_calls_of_exported_programs(name: str, exported: bool) -> None:
    pytest.importorskip("torch.ao.quantization.fx._decomposed")
    call = CALLS[name]
    model = Quantized(lambda m, x: F.linear(x, call(m, x), m.bias)).eval()
    x = model.input(9)
    compiled = snipjit.compile(model, (x,), options=OPTIONS) if exported else _compiled(model)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-5, atol=2e-5)
    stats = snipjit.stats()
    assert stats.patterns == {"linear": 1}
    assert not stats.refusals


def test_groups_of_merged_heads() -> None:
    """Heads are other parts of the features than groups: they are merged in front of the kernel."""

    def merged(m: Any, x: Tensor) -> Tensor:
        heads = F.linear(x, m.w[: m.k].to(x.dtype) * m.s1).view(-1, 4, 3, 8)
        return F.linear(heads.transpose(1, 2).flatten(1), per_group(m))

    model = Quantized(merged).eval()
    check(model, _compiled(model), (9, 31))
    assert snipjit.stats().patterns == {"linear": 2}
    assert not snipjit.stats().refusals


def test_a_weight_that_changes() -> None:
    """What was prepared is written anew, and scales are read at each call."""
    model: Any = Quantized(FORMS["per channel, zero"]).eval()
    compiled = _compiled(model, weights="prepared")
    check(model, compiled, (9,))
    with torch.no_grad():
        model.w.copy_(model.w.flip(0))
        model.s.mul_(2)
        model.z.add_(3)
    check(model, compiled, (9,))


def test_one_weight_read_twice() -> None:
    def twice(m: Any, x: Tensor) -> Tensor:
        w = m.w.to(x.dtype) * m.s[:, None]
        return F.linear(F.relu(F.linear(x, w)) @ w, w)

    model = Quantized(twice).eval()
    check(model, _compiled(model), (9,))
    assert snipjit.stats().patterns == {"linear": 3}
