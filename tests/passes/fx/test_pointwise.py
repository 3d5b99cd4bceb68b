"""Every elementwise function of PyTorch is taken, or refused by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import snipjit
from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.layouts import LAYOUTS
from snipjit.passes.fx.nodes.op_table import PAIRWISE, TABLE
from snipjit.passes.fx.nodes.uncovered import UNCOVERED
from tests.passes.fx.attention_forms import qkv
from tests.passes.fx.support import graph_of


def _pointwise() -> Iterator[str]:
    """The names of all that PyTorch's registry calls pointwise, those in place left out."""
    for name in dir(torch.ops.aten):
        overloads: Any = getattr(getattr(torch.ops.aten, name), "overloads", None)
        if overloads is None or name.endswith("_"):
            continue
        packet = getattr(torch.ops.aten, name)
        functional = [getattr(packet, of) for of in overloads() if "out" not in of]
        if any(torch.Tag.pointwise in overload.tags for overload in functional):
            yield name


def _is_taken(name: str) -> bool:
    packet = getattr(torch.ops.aten, name)
    rows = [TABLE.get(getattr(packet, overload)) for overload in packet.overloads()]
    ops = {row.op for row in rows if row is not None}
    return any(is_elementwise(op) or op in LAYOUTS or op in PAIRWISE for op in ops)


@pytest.mark.parametrize("name", sorted(_pointwise()))
def test_taken_or_refused_by_name(name: str) -> None:
    assert _is_taken(name) != (name in UNCOVERED), (
        f"aten.{name} is new: give it a row in op_table.py and a form in lift/expand_*.py, or name "
        "it in uncovered.py"
    )


def test_the_refusal_says_what_it_is() -> None:
    def below(q: Tensor, k: Tensor, v: Tensor) -> Any:
        return torch.sin((q @ k.mT).softmax(-1)) @ v

    def above(q: Tensor, k: Tensor, v: Tensor) -> Any:
        return torch.sin(q @ k.mT).softmax(-1) @ v

    assert "is a function that kernels do not compute" in graph_of(below, *qkv()).reason
    assert "the walk ends at `sin` (sin)" in graph_of(above, *qkv()).reason


INF, NAN = float("inf"), float("nan")
SMALL = (0.0, -0.0, 1e-30, -1e-30, 2e-8, 1e-4, -1e-4, 0.5, -0.5)
SPECIAL = torch.tensor([*SMALL, 3.0, -3.0, 90.0, -90.0, INF, -INF, NAN])
FUNCTIONS: dict[str, Any] = {
    "expm1": lambda s, y: torch.expm1(s),
    "log1p": lambda s, y: torch.log1p(s),
    "logaddexp": lambda s, y: torch.logaddexp(s, y),
    "logaddexp of equals": lambda s, y: torch.logaddexp(s, s * 1),
    "xlogy": lambda s, y: torch.xlogy(s, y),
    "xlog1py": lambda s, y: torch.special.xlog1py(s, y),
    "entr": lambda s, y: torch.special.entr(s),
    "fmax": lambda s, y: torch.fmax(s, y),
    "fmin": lambda s, y: torch.fmin(s, y),
    "frac": lambda s, y: torch.frac(s),
    "heaviside": lambda s, y: torch.heaviside(s, y),
    "ldexp": lambda s, y: torch.ldexp(s, y.clamp(-20, 20)),
    "isposinf": lambda s, y: torch.isposinf(s).float(),
    "isneginf": lambda s, y: torch.isneginf(s).float(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name: str) -> None:
    """A bias goes through the function in the kernel, where the scores are 0."""
    function = FUNCTIONS[name]

    def model(q: Tensor, k: Tensor, v: Tensor, x: Tensor, y: Tensor) -> Any:
        s = function(q @ k.mT + x, y)
        return s, s.softmax(-1) @ v

    n = len(SPECIAL)
    zeros, v = torch.zeros(n, 4), torch.randn(n, 4)
    x = torch.stack([SPECIAL.roll(i) for i in range(n)])
    y = x.flip(-1)
    torch._dynamo.reset()
    snipjit.reset_stats()
    with torch.no_grad():
        found, _ = torch.compile(model, backend="snipjit", dynamic=True)(zeros, zeros, v, x, y)
        right, _ = model(zeros, zeros, v, x, y)
    assert snipjit.stats().subgraphs == 1
    torch.testing.assert_close(found, right, rtol=2e-6, atol=1e-37, equal_nan=True)
