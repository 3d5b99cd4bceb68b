"""Activations and refused functions as models write them, traced by Dynamo and exported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snipjit.ir.text.subgraph import print_subgraph
from tests.passes.fx.attention_forms import qkv
from tests.passes.fx.support import Capture, assert_equal_to_eager, exported, graph_of


class Attention(nn.Module):
    """Softmax of a function of the scores: what is captured."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Tensor) -> Tensor:
        q, k, v = args
        return self.function(q @ k.mT).softmax(-1) @ v


def weights(*shape: int) -> Tensor:
    return torch.linspace(0.2, 0.7, max(1, *shape)).reshape(shape)


def prelu(*shape: int) -> nn.PReLU:
    module = nn.PReLU(*shape)
    module.weight = nn.Parameter(weights(*shape))
    return module


FUNCTIONS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "softshrink": lambda: nn.Softshrink(0.3),
    "hardshrink": lambda: nn.Hardshrink(0.3),
    "logit": lambda: lambda x: torch.logit(x, 0.1),
    "special.logit": lambda: lambda x: torch.special.logit(x, eps=0.1),
    "elu": lambda: nn.ELU(1.3),
    "elu in place": lambda: lambda x: F.elu_(x, 0.7),
    "prelu of one weight": lambda: prelu(1),
    "prelu of one a head": lambda: prelu(4),
    "rrelu": lambda: nn.RReLU(0.1, 0.4),
    "rrelu of numbers": lambda: lambda x: F.rrelu(x, upper=0.5),
    "expm1": lambda: torch.special.expm1,
    "log1p": lambda: lambda x: x.abs().log1p(),
    "isclose": lambda: lambda x: x.masked_fill(torch.isclose(x, x.round(), atol=0.1), 2.0),
    "fmax": lambda: lambda x: torch.fmax(x, x.neg()),
    "sinh": lambda: torch.sinh,
    "special.ndtr": lambda: torch.special.ndtr,
    "special.entr": lambda: lambda x: torch.special.entr(x.sigmoid()),
    "special.xlog1py": lambda: lambda x: torch.special.xlog1py(x, x.sigmoid()),
}
LEVELS: dict[str, Callable[[nn.Module], Capture]] = {
    "dynamo": lambda model: graph_of(model, *qkv()),
    "dynamo, static": lambda model: graph_of(model, *qkv(), dynamic=False),
    "exported": lambda model: exported(model, qkv()),
}


SEEN = ["dynamo", *(pytest.param(level, marks=pytest.mark.long) for level in list(LEVELS)[1:])]


@pytest.mark.parametrize("level", SEEN)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_taken(name: str, level: str) -> None:
    capture = LEVELS[level](Attention(FUNCTIONS[name]()).eval())
    assert capture.candidate
    assert_equal_to_eager(capture)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["bfloat16", "half"])
def test_methods_that_name_an_element_type(name: str, level: str) -> None:
    def by_method(x: Tensor) -> Tensor:
        found: Tensor = getattr(x, name)()
        return found.float()

    def by_type(x: Tensor) -> Tensor:
        return x.to(getattr(torch, name)).to(torch.float32)

    captures = [LEVELS[level](Attention(function)) for function in (by_method, by_type)]
    short, long = (print_subgraph(capture.candidate.subgraph) for capture in captures)
    assert short == long
    assert {"bfloat16": "to_bf16", "half": "to_f16"}[name] in short


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (torch.sin, r"\(sin, which has no accurate form in the kernels' functions\); accepted:"),
        (torch.special.i0e, r"i0e, which has no accurate form in the kernels' functions\)"),
        (lambda x: x % 2.0, r"\(mod, which needs the exact rest of a division\); accepted:"),
        (lambda x: x.fmod(2.0), r"\(Tensor.fmod, which needs the exact rest of a division\)"),
        (lambda x: x.copysign(-x), r"\(Tensor.copysign, which reads the bits of a number\)"),
        (lambda x: F.rrelu(x, training=True), "`rrelu` draws slopes; accepted: training=False"),
        (
            lambda x: x.masked_fill(x.to(torch.bfloat16).isclose(-x.to(torch.bfloat16)), 1.0),
            "`isclose` of bf16; ",
        ),
        (lambda x: x.double().float(), "float64"),
    ],
    ids=["sin", "i0e", "mod", "fmod", "copysign", "rrelu", "isclose", "double"],
)
def test_refused(function: Callable[[Tensor], Tensor], reason: str) -> None:
    capture = graph_of(Attention(function), *qkv(), dynamic=False)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(capture.reason)


def test_refused_after_softmax() -> None:
    def model(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT).softmax(-1).sin() @ v

    reason = graph_of(model, *qkv(), dynamic=False).reason
    wanted = "(Tensor.sin, which has no accurate form in the kernels' functions) is not taken; "
    assert wanted in reason
