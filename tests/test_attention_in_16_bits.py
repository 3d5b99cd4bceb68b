"""Forms of attention in bf16 and f16, and under autocast: one rounding away from float64."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import snipjit
from snipjit.runtime.engine import host_features
from snipjit.target.target_machine import select
from tests.passes.fx import attention_forms, more_forms
from tests.passes.fx.attention_forms import Model, bert, padding, qkv

FORMS = {form.name: form for form in (*attention_forms.FORMS, *more_forms.MORE)}
FLOAT32_PARTS = "bert t5 folded sd_beta_zero sink_last scaled_keys chained_masks".split()
"""Forms with tensors of float32 that eager multiplies with others under autocast only."""
TOO_LARGE = ("gemma", "in_place")
"""They fill in what f16 does not hold."""
OTHERWISE_ROUNDED = ("quantized", "temperatures", "shifted")
"""Where a tie may round to another level, or PyTorch rounds outside of the kernel."""
OF_INTEGERS = ("times_bytes", "times_integers", "times_made_integers")
"""Buffers of integers, which make float32 of scores; in 16 bits they are left to PyTorch."""
QUICK = ("llama", "timm", "written_out", "sdpa", "sdpa_gqa", "einsum_groups", "sink_first")
ROUNDING = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}

dtypes = pytest.mark.parametrize("dtype", ROUNDING, ids=lambda dtype: str(dtype)[6:])


def _forms(*without: str) -> pytest.MarkDecorator:
    names = [name for name in FORMS if name not in without]
    marks = [[] if name in QUICK else [pytest.mark.long] for name in names]
    pairs = zip(names, marks, strict=True)
    return pytest.mark.parametrize("name", [pytest.param(n, marks=m) for n, m in pairs])


def _run(model: Callable[..., Any], *args: Any) -> Any:
    torch._dynamo.reset()
    snipjit.reset_stats()
    with torch.no_grad():
        result = torch.compile(model, backend="snipjit", dynamic=True)(*args)
    assert snipjit.stats().subgraphs == 1, snipjit.stats().refusals
    return result


def _converted(args: tuple[Any, ...], dtype: torch.dtype) -> tuple[Any, ...]:
    floats = [isinstance(arg, Tensor) and arg.is_floating_point() for arg in args]
    return tuple(arg.to(dtype) if f else arg for arg, f in zip(args, floats, strict=True))


def _in_double(function: Callable[..., Tensor], args: tuple[Any, ...]) -> Tensor:
    """A form in float64, constants that it makes and the weight of its projections included."""
    weight = attention_forms.WEIGHT.data
    torch.set_default_dtype(torch.float64)
    try:
        attention_forms.WEIGHT.data = weight.double()
        with torch.no_grad():
            return function(*_converted(args, torch.float64))
    finally:
        attention_forms.WEIGHT.data = weight
        torch.set_default_dtype(torch.float32)


def _assert_rounded_once(result: Tensor, right: Tensor, dtype: torch.dtype) -> None:
    """Of the result alone; where products are of pairs, of the weights before."""
    assert result.dtype == dtype
    rounding = ROUNDING[dtype] * 1.01
    in_pairs = dtype == torch.bfloat16 and select(host_features()).pairs
    slack = 2 * rounding if in_pairs else rounding / 50
    torch.testing.assert_close(result.double(), right, rtol=rounding, atol=slack)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(
            name,
            dtype,
            id=f"{name}-{str(dtype)[6:]}",
            marks=[] if name in QUICK and (number + turn) % 2 == 0 else [pytest.mark.long],
        )
        for number, name in enumerate(FORMS)
        if name not in (*FLOAT32_PARTS, *OTHERWISE_ROUNDED, *OF_INTEGERS)
        for turn, dtype in enumerate(ROUNDING)
    ],
)
def test_forms(name: str, dtype: torch.dtype) -> None:
    if dtype == torch.float16 and name in TOO_LARGE:
        pytest.skip("fills in what f16 does not hold")
    form = FORMS[name]
    args = _converted(form.inputs(), dtype)
    result = _run(form.function, *args)
    _assert_rounded_once(result, _in_double(form.function, args), dtype)


def _autocast(function: Callable[..., Any], *args: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return function(*args)


@_forms("bert", *OTHERWISE_ROUNDED, *OF_INTEGERS)
def test_autocast(name: str) -> None:
    """Products round their float32 operands in eager; the kernel reads them as they are."""
    form = FORMS[name]
    args = form.inputs()
    result = _run(partial(_autocast, form.function), *args)
    _assert_rounded_once(result, _in_double(form.function, args), torch.bfloat16)


@pytest.mark.long
@pytest.mark.parametrize("name", QUICK)
def test_programs(name: str) -> None:
    form = FORMS[name]
    args = _converted(form.inputs(), torch.bfloat16)
    snipjit.reset_stats()
    program = snipjit.compile(Model(form.function), args)
    assert snipjit.stats().subgraphs == 1
    result = program(*args)
    _assert_rounded_once(result, _in_double(form.function, args), torch.bfloat16)


def test_a_projection_under_autocast() -> None:
    args = FORMS["bert"].inputs()
    result = _run(partial(_autocast, bert), *args)
    with torch.no_grad():
        eager = _autocast(bert, *args)
    right = _in_double(bert, args)
    assert result.dtype == eager.dtype == torch.bfloat16
    assert (result.double() - right).abs().mean() <= (eager.double() - right).abs().mean()


def test_masks_and_biases_of_float32() -> None:
    """Scores become float32 where they meet them, as in eager; the weights are cast again."""

    def mixed(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        scores = q @ k.mT * 0.3 + bias + torch.where(mask, 0.0, -1e9)
        return torch.softmax(scores, -1).to(q.dtype) @ v

    args = (*_converted(qkv(), torch.bfloat16), torch.randn(1, 4, 7, 9), padding())
    result = _run(mixed, *args)

    def wide(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        return mixed(q, k, v, bias, mask)

    _assert_rounded_once(result, _in_double(wide, args), torch.bfloat16)


def test_a_cache_of_another_type_is_converted_outside() -> None:
    """``k.to(q.dtype)`` is an operation of the model that rounds: its result is the operand."""

    def cached(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype))

    q, k, v = qkv()
    args = (q.bfloat16(), k.half(), v.half())
    result = _run(cached, *args)
    right = _in_double(cached, (args[0], args[1].bfloat16(), args[2].bfloat16()))
    _assert_rounded_once(result, right, torch.bfloat16)


@pytest.mark.parametrize("wide", range(3), ids=["query", "key", "value"])
@pytest.mark.parametrize("rows", [3, 40])
@pytest.mark.parametrize("capped", [False, True])
def test_one_operand_of_float32_is_rounded_by_the_model(wide: int, rows: int, capped: bool) -> None:
    """Under autocast, and where the model casts: the kernel reads it as it is."""
    generator = torch.Generator().manual_seed(wide)
    args = [torch.randn(2, 4, size, 32, generator=generator) for size in (rows, 21, 21)]
    mixed = [t if i == wide else t.bfloat16() for i, t in enumerate(args)]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.mT * 0.2
        scores = torch.tanh(scores) * 5 if capped else scores
        return torch.softmax(scores, -1) @ v

    result = _run(partial(_autocast, attend), *mixed)
    right = attend(*(tensor.double() for tensor in mixed))
    torch.testing.assert_close(result.double(), right, rtol=0.01, atol=0.01)


@dtypes
def test_returned_weights_are_of_the_type_of_the_model(dtype: torch.dtype) -> None:
    def weights(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        p = (q @ k.mT * 0.3).softmax(-1)
        return p @ v, p

    args = _converted(qkv(), dtype)
    result, p = _run(weights, *args)
    wide = _converted(args, torch.float64)
    right, q = weights(*wide)
    _assert_rounded_once(result, right, dtype)
    _assert_rounded_once(p, q, dtype)


@dtypes
def test_multi_head_attention(dtype: torch.dtype) -> None:
    module = torch.nn.MultiheadAttention(32, 4, batch_first=True).to(dtype).eval()
    x = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    hidden = torch.zeros(2, 9, dtype=torch.bool)
    hidden[1, 6:] = True

    def attend(x: Tensor) -> Any:
        return module(x, x, x, key_padding_mask=hidden)

    result = _run(attend, x)
    with torch.no_grad():
        for ours, theirs in zip(result, attend(x), strict=True):
            assert ours.dtype == theirs.dtype
            tolerance = 4 * ROUNDING[dtype]
            torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
