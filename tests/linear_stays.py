"""Products and functions that linear layers leave to PyTorch, as models write them, and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.linear_forms import Form, weight


@dataclass(frozen=True)
class Stay:
    """A form of which something stays with PyTorch.

    why      in words
    reason   of the refusal; empty where nothing is taken for a linear layer
    dtype    of the model
    warns    whether the refusal surprises
    """

    form: Form
    why: str
    reason: str = ""
    dtype: torch.dtype = torch.float32
    warns: bool = False

    def model(self) -> nn.Module:
        """The form as a module, in eval mode."""
        return self.form.model().to(self.dtype)

    def input(self) -> Tensor:
        """An input of some length."""
        return self.form.input(9).to(self.dtype)


def _layer() -> dict[str, nn.Module | nn.Parameter]:
    return {"a": nn.Linear(24, 40)}


def _square() -> dict[str, nn.Module | nn.Parameter]:
    return {"w": weight(40, 24)}


def _parametrized() -> dict[str, nn.Module | nn.Parameter]:
    return {"a": nn.utils.parametrizations.weight_norm(nn.Linear(24, 40))}


STAYS = {
    "stacked weights as [k][n] of one input": Stay(
        Form(lambda m, x: x @ m.w, lambda: {"w": weight(3, 24, 40)}, ("L", 24), kernels=0),
        "their schedules are for as many inputs as weights",
        "by which PyTorch multiplies faster",
    ),
    "convolution": Stay(
        Form(lambda m, x: m.a(x), lambda: {"a": nn.Conv2d(24, 40, 1)}, (2, 24, "L", 7), kernels=0),
        "of one tap it is taken on request",
    ),
    "float64": Stay(
        Form(lambda m, x: m.a(x), _layer, kernels=0),
        "kernels compute in float32",
        "accepted: torch.float32",
        torch.float64,
    ),
    "no features": Stay(
        Form(lambda m, x: m.a(x), lambda: {"a": nn.Linear(0, 40)}, (2, "L", 0), kernels=0),
        "there is nothing to sum",
        "has 0 features; accepted: a number that is known and not 0",
        warns=True,
    ),
    "computed weight": Stay(
        Form(lambda m, x: F.linear(x, m.w * 2), _square, kernels=0),
        "it is no matrix that the graph is given",
    ),
    "parametrized weight": Stay(
        Form(lambda m, x: m.a(x), _parametrized, kernels=0), "it is computed at every call"
    ),
    "weight of a dynamic size": Stay(
        Form(lambda m, x: F.linear(x, m.w[: x.shape[1]]), _square, kernels=0),
        "sizes of weights are compiled in",
    ),
    "weight that is a vector": Stay(
        Form(lambda m, x: x @ m.w, lambda: {"w": weight(24)}, kernels=0),
        "a weight is a matrix",
    ),
    "product of two inputs": Stay(
        Form(lambda m, x: x @ x.mT, dict, kernels=0), "there is no weight"
    ),
}
"""What stays whole."""

ENDS = {
    "layer norm": Stay(
        Form(lambda m, x: F.layer_norm(m.a(x), (40,)), _layer), "sums over features"
    ),
    "dropout that is on": Stay(
        Form(lambda m, x: F.dropout(m.a(x), 1.0, True), _layer), "draws numbers"
    ),
    "sin": Stay(
        Form(lambda m, x: m.a(x).sin(), _layer), "is not among the elementwise functions of kernels"
    ),
    "larger results": Stay(
        Form(lambda m, x: m.a(x)[:, :, None] + m.w, lambda: {**_layer(), "w": weight(3, 40)}),
        "is of another shape than the product",
    ),
}
"""Where a chain ends: the layer becomes a kernel, what follows runs as before."""
