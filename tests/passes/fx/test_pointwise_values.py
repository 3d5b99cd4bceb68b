"""Composed pointwise functions as kernels: ordinary numbers to a few ulp, special ones as eager."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.verify.subgraph import verify_positional
from snipjit.passes.fx.lift.expand_elementwise import expand_elementwise
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.runtime.launcher import Launcher
from tests.kernels import TARGETS, is_native, launcher
from tests.traces import Trace

Array = npt.NDArray[Any]

UNARY: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...]]] = {
    **{
        name: (getattr(torch, name), ())
        for name in (
            "expm1 log1p sinh cosh asinh acosh atanh frac angle deg2rad rad2deg isposinf isneginf "
            "hardshrink selu celu"
        ).split()
    },
    "entr": (torch.special.entr, ()),
    "ndtr": (torch.special.ndtr, ()),
    "logit": (torch.logit, (0.1,)),
    "softshrink": (F.softshrink, (0.3,)),
    "rrelu": (F.rrelu, (0.2, 0.4)),
    "elu": (torch.ops.aten.elu.default, (1.5, 0.7, 0.9)),
}
BINARY: dict[str, tuple[Callable[..., Tensor], tuple[Any, ...]]] = {
    **{
        name: (getattr(torch, name), ())
        for name in "logaddexp logaddexp2 xlogy hypot ldexp fmax fmin heaviside isclose".split()
    },
    "isclose nan": (torch.isclose, (0.1, 0.01, True)),
    "xlog1py": (torch.special.xlog1py, ()),
}
FUNCTIONS = UNARY | BINARY
ODD = ("expm1", "log1p", "sinh", "asinh", "atanh", "rrelu", "frac")
"""They keep the sign of zero."""
SUMS = ("ndtr", "logaddexp", "logaddexp2")
"""Of terms that may cancel, in torch too: no more accurate than these."""

SPECIAL = np.array(
    [0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, -2.5, 2, 3, 1e-40, -1e-40, 1e-30, -1e-30, 1e-8, -1e-8,
     3e38, -3.4e38, 88.7, -88.7, 89.2, -89.2, 1e10, -1e10, 200, -200, np.inf, -np.inf, np.nan],
    np.float32,
)  # fmt: skip
ULPS = 8.0
TIMES_EAGER = 1.5
"""How far from float64 a kernel may be: by the first, or by the second as far as eager is."""

ROW = next(row for row in reversed(TARGETS.values()) if is_native(row))


@cache
def compiled(name: str) -> tuple[Subgraph, list[float], Launcher]:
    """The function alone as a Subgraph and a kernel, truth values as floats."""
    function, rest = FUNCTIONS[name]
    trace = Trace()
    tensors = [trace.input(torch.zeros(2, 3, 4)) for _ in range(1 + (name in BINARY))]
    node = trace(function, *tensors, *rest)
    writer, call = SubgraphWriter(), lookup(node)
    assert call is not None

    def operand(argument: Any) -> str:
        is_node = isinstance(argument, fx.Node)
        return writer.side_input(argument) if is_node else writer.scalar(argument)

    value = writer.to(expand_elementwise(call, writer, operand), "f32")
    finished = writer.finish("function", [(value, node)], {})
    verify_positional(finished.subgraph)
    numbers: dict[str, Any] = {**writer.scalars}  # all of them are literals here
    scalars = [float(numbers[name]) for name in finished.scalars]
    return finished.subgraph, scalars, launcher(finished.subgraph, ROW)


def operands(name: str, numbers: Array, others: Array) -> list[Tensor]:
    """Arrays of the same length as tensors of three dims, the last ones repeated to fill them."""
    arrays = (numbers, others)[: 1 + (name in BINARY)]
    size = -(-len(numbers) // 8) * 8
    return [torch.from_numpy(np.resize(array, size).reshape(1, -1, 8)) for array in arrays]


def eager(name: str, tensors: list[Tensor]) -> Array:
    function, rest = FUNCTIONS[name]
    found: Tensor = function(*tensors, *rest)
    return found.numpy().astype(np.float64)


def problems(got: Array, wanted: list[Array], tensors: list[Tensor], atol: float) -> list[str]:
    """Where an array differs from all others, with the operands."""
    same = [np.isclose(got, want, rtol=2e-5, atol=atol, equal_nan=True) for want in wanted]
    places = [*zip(*np.nonzero(~np.any(same, axis=0)), strict=True)][:9]
    return [f"{[float(t[at]) for t in tensors]}: {got[at]}, not {wanted[0][at]}" for at in places]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_numbers(name: str) -> None:
    subgraph, scalars, run = compiled(name)
    first, second = (np.ascontiguousarray(x.ravel()) for x in np.meshgrid(SPECIAL, SPECIAL))
    tensors = operands(name, *((first, second) if name in BINARY else (SPECIAL, SPECIAL)))
    found = run(*tensors, *scalars)
    assert isinstance(found, Tensor)
    wide = [tensor.double() for tensor in tensors]
    want, exact = eager(name, tensors), eager(name, wide)
    # exp gives no denormals, and logaddexp2's rounding shows where the sum is 0.
    atol = 2e-8 if name == "logaddexp2" else 1e-37
    # torch's sinh is infinite before its value is.
    assert not problems(found.numpy(), [want, exact], tensors, atol)
    if name in ODD:
        zeros = (want == 0) & (tensors[0].numpy() == 0)
        np.testing.assert_array_equal(np.signbit(found.numpy()[zeros]), np.signbit(want[zeros]))
    (meant,) = interpret(subgraph, [tensor.numpy() for tensor in tensors], scalars)
    assert not problems(meant, [exact], wide, atol)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ordinary_numbers(name: str) -> None:
    _, scalars, run = compiled(name)
    random = np.random.default_rng(0)
    sizes = 10.0 ** random.uniform(-8, 1.9, (2, 20_000))
    drawn = (sizes * random.choice([-1, 1], sizes.shape)).astype(np.float32)
    tensors = operands(name, *drawn)
    found = run(*tensors, *scalars)
    assert isinstance(found, Tensor)
    want = eager(name, [tensor.double() for tensor in tensors])
    np.testing.assert_array_equal(np.isfinite(found.numpy()), np.isfinite(want))
    known = np.isfinite(want)
    size = np.maximum(np.abs(want[known]), 1.0 if name in SUMS else 0.0)
    unit = np.spacing(size.astype(np.float32))
    results = (found.numpy(), eager(name, tensors))
    own, torchs = (np.abs(x[known].astype(np.float64) - want[known]) / unit for x in results)
    assert own.max() <= max(ULPS, TIMES_EAGER * torchs.max())
