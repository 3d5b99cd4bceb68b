"""Floats of 8 bits: every code of them as torch has it, in whatever reads them to convert them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import snipjit
from snipjit.ir.element_types import ELEMENT_TYPES, round_to
from snipjit.ir.subgraph import Subgraph, SubgraphBuilder, TensorType
from snipjit.target.target_machine import TargetMachine
from tests import kernels
from tests.kernels import TARGETS
from tests.passes.llvm.one_function import Machine, on_each_machine

TYPES = {name: getattr(torch, ELEMENT_TYPES[name].torch) for name in ("f8e4m3fn", "f8e5m2")}
SATURATES = bool(torch.tensor(1e3).to(TYPES["f8e4m3fn"]).float().isfinite())
"""Whether this torch gives the largest number for what is too large; earlier ones give NaN."""
of_each_type = pytest.mark.parametrize("dtype", TYPES)
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
OPTIONS: dict[str, Any] = {"fuse": ["attention", "normalization", "elementwise"]}


@pytest.fixture(autouse=True)
def _fresh(fresh: None) -> None:
    """Nothing traced or counted before."""


@pytest.fixture(params=[False, True], ids=["", "flushed"])
def flushed(request: pytest.FixtureRequest) -> Iterator[None]:
    """With the CPU told to take subnormal numbers for zero, and without."""
    torch.set_flush_denormal(request.param)
    yield
    torch.set_flush_denormal(False)


def codes(dtype: str) -> Tensor:
    """All numbers of a type, in the order of their bits."""
    return torch.arange(256, dtype=torch.uint8).view(TYPES[dtype])


def numbers_about(dtype: str) -> np.ndarray[Any, Any]:
    """All numbers of a type, ties between them, and the neighbours of both; far ones, and none."""
    every = codes(dtype).float().numpy()
    finite = np.unique(every[np.isfinite(every)])
    ties = np.concatenate([(finite[:-1] + finite[1:]) / 2, finite[-1:] * [17 / 16, 33 / 32, 2]])
    at = np.concatenate([every, ties, -ties]).astype(np.float32)
    far = [1e9, -1e9, 464, 480, 496, 512, 61440, 65536, 1e-9, -1e-9, 3e38, -0.0, 1e-42]
    both = [np.nextafter(at, np.float32(side * np.inf)) for side in (1, -1)]
    numbers = np.concatenate([at, *both, np.array(far, np.float32)])
    if dtype == "f8e4m3fn" and not SATURATES:
        numbers = numbers[~(np.abs(numbers) > ELEMENT_TYPES[dtype].largest)]
    return numbers


def as_torch(dtype: str, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What torch's cast makes of numbers."""
    return torch.from_numpy(numbers).to(TYPES[dtype]).float().numpy()


@of_each_type
def test_the_nearest_number_is_that_of_torch(dtype: str) -> None:
    numbers = numbers_about(dtype)
    with np.errstate(invalid="ignore"):
        have = round_to(dtype, numbers)
    want = as_torch(dtype, numbers)
    np.testing.assert_array_equal(have, want)
    np.testing.assert_array_equal(np.signbit(have[have == 0]), np.signbit(want[have == 0]))


@of_each_type
@on_each_machine
def test_casts_are_those_of_torch(machine: Machine, dtype: str, flushed: None) -> None:
    numbers = numbers_about(dtype)
    have, want = machine.run(f"to_{dtype}", numbers), as_torch(dtype, numbers)
    np.testing.assert_array_equal(have, want)
    np.testing.assert_array_equal(np.signbit(have[have == 0]), np.signbit(want[have == 0]))


def copied(dtype: str, result: str) -> Subgraph:
    """``x`` as it is, in another type."""
    build = SubgraphBuilder("test")
    x = build.add("parameter", TensorType.of(dtype, "x0", "x1"), name="x")
    y = build.add("to_f32", TensorType.of("f32", "x0", "x1"), x) if dtype != "f32" else x
    if result != "f32":
        y = build.add(f"to_{result}", TensorType.of(result, "x0", "x1"), y)
    build.result(y, name="y")
    return build.subgraph()


@of_each_type
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_code_as_it_is_loaded(dtype: str, target: TargetMachine, flushed: None) -> None:
    x = codes(dtype)
    run = kernels.launcher(copied(dtype, "f32"), target)
    for columns in (256, 64, 1):
        result = torch.as_tensor(run(x.view(-1, columns))).flatten()
        assert torch.equal(result.isnan(), x.float().isnan())
        assert torch.equal(result.nan_to_num(7.5), x.float().nan_to_num(7.5))
        assert torch.equal(result.signbit()[~result.isnan()], x.float().signbit()[~result.isnan()])


@of_each_type
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_number_as_it_is_stored(dtype: str, target: TargetMachine) -> None:
    x = torch.from_numpy(numbers_about(dtype))[None]
    result = torch.as_tensor(kernels.launcher(copied("f32", dtype), target)(x))
    assert result.dtype == TYPES[dtype]
    want = x.to(TYPES[dtype]).float()
    assert torch.equal(result.float().isnan(), want.isnan())
    assert torch.equal(result.float().nan_to_num(7.5), want.nan_to_num(7.5))


# Models.

Function = Callable[..., Tensor]


def _written(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.to(q.dtype).transpose(-1, -2) * 0.2
    return scores.softmax(-1) @ v.to(q.dtype)


ATTENTION: dict[str, Function] = {
    "sdpa": lambda q, k, v: F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype)),
    "causal": lambda q, k, v: F.scaled_dot_product_attention(
        q, k.to(q.dtype), v.to(q.dtype), is_causal=True
    ),
    "scaled": lambda q, k, v: F.scaled_dot_product_attention(
        q, k.to(q.dtype) * 0.7, v.to(q.dtype) * 0.5
    ),
    "grouped": lambda q, k, v: F.scaled_dot_product_attention(
        q, k[:, ::2].to(q.dtype), v[:, ::2].to(q.dtype), enable_gqa=True
    ),
    "written": _written,
}
"""Keys and values of a cache, cast to the type of the model."""

ELEMENTWISE: dict[str, Function] = {
    "chain": lambda a, b: F.silu(a.to(b.dtype) * 0.5 + b),
    "both": lambda a, b: (a.float() * a.float() + b.float()).to(b.dtype),
    "hidden": lambda a, b: torch.where(a.float() > 0, b, b * 2 + 1),
    "normalized": lambda a, b: F.layer_norm(a.to(b.dtype), (64,), b[0], b[1]),
}


def _cases(forms: Iterable[str]) -> list[Any]:
    """Each form in one type of model and one of memory in turn; in all others if long."""
    pairs = [(model, dtype) for dtype in TYPES for model in FLOATS]
    return [
        pytest.param(name, model, dtype, marks=[] if turn == place % 6 else pytest.mark.long)
        for place, name in enumerate(forms)
        for turn, (model, dtype) in enumerate(pairs)
    ]


def check(function: Function, inputs: tuple[Tensor, ...]) -> None:
    """One kernel, as near to float64 as eager or a rounding of the result."""
    want = function(*(tensor.double() for tensor in inputs))
    eager = function(*inputs)
    with torch.no_grad():
        have = torch.compile(function, backend="snipjit", dynamic=True, options=OPTIONS)(*inputs)
    assert have.dtype == eager.dtype
    error = (eager.double() - want).abs().nan_to_num().max().item()
    slack = max(error, 2e-6 * want.abs().max().item())
    rounding = torch.finfo(have.dtype).eps
    torch.testing.assert_close(have.double(), want, rtol=rounding, atol=slack, equal_nan=True)
    stats = snipjit.stats()
    assert stats.subgraphs == stats.kernel_calls == 1
    assert not stats.refusals


@pytest.mark.parametrize(("name", "model", "dtype"), _cases(ATTENTION))
def test_caches(name: str, model: torch.dtype, dtype: str) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, n, 32, generator=generator) for n in (33, 50, 50))
    check(ATTENTION[name], (q.to(model), k.to(TYPES[dtype]), v.to(TYPES[dtype])))


@pytest.mark.parametrize(("name", "model", "dtype"), _cases(ELEMENTWISE))
def test_elements(name: str, model: torch.dtype, dtype: str) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(131, 64, generator=generator) for _ in range(2))
    check(ELEMENTWISE[name], (a.to(TYPES[dtype]), b.to(model)))


@of_each_type
def test_what_is_no_number(dtype: str) -> None:
    """Rows of every code: NaN and infinities go where eager has them."""
    b = torch.linspace(-2, 2, 256 * 64).view(256, 64)

    def function(a: Tensor, b: Tensor) -> Tensor:
        return a.to(b.dtype) * 0.5 + b

    a = codes(dtype)[:, None].expand(256, 64).contiguous()
    with torch.no_grad():
        have = torch.compile(function, backend="snipjit", options=OPTIONS)(a, b)
    torch.testing.assert_close(have, function(a, b), rtol=0, atol=1e-2, equal_nan=True)
    assert snipjit.stats().kernel_calls == 1


@of_each_type
def test_what_computes_in_8_bits_stays(dtype: str) -> None:
    """A choice between such numbers, which torch makes: the casts behind it are compiled."""

    def function(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(b > 0, a, a.flip(0)).to(b.dtype) * 2 + b

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(131, 64, generator=generator) for _ in range(2))
    check(function, (a.to(TYPES[dtype]), b))
