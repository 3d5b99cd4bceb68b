"""``python -m benchmarks linear --dtype int8``: weights of 8 bits, scales by channel and by group.

Four layers of a Llama of 2048 features, activations in bfloat16. Ours with the same matrices in
bfloat16 are contestants, and a plain read of the integers (``read``): at one token each weight is
used once, and no one is faster. ``eager`` writes the weights in bfloat16 anew at each call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from benchmarks.layers import LlamaLayer
from benchmarks.linear import EAGER, WEIGHTS, Call, compiled
from benchmarks.linear_llama import (
    HEADS,
    HIDDEN,
    INNER,
    KV_HEADS,
    LAYERS,
    READ,
    llama,
    read_once,
)
from benchmarks.machine import Watch, description
from benchmarks.rounds import Plan, Timing, measure

INT8 = "int8"
ROWS = [1, 8, 31, 128]
BF16 = "bf16"
GROUPS = {"channel": 0, "groups of 32": 32}
"""The kinds of scales, and how many weights share one; 0: all of a channel."""


class Quantized(nn.Module):
    """A matrix of int8, a scale for each channel or group."""

    def __init__(self, matrix: nn.Linear, group: int) -> None:
        super().__init__()
        wide = matrix.weight.detach().float()
        parts = wide.view(wide.shape[0], -1, group or wide.shape[1])
        scale = parts.abs().amax(-1, keepdim=True) / 127
        self.group = group
        self.weight = nn.Buffer((parts / scale).round().to(torch.int8).flatten(1))
        self.scale = nn.Buffer(scale.squeeze(-1).to(matrix.weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """[M, in] to [M, out]."""
        if not self.group:
            return F.linear(x, self.weight.to(x.dtype) * self.scale)
        parts = self.weight.to(x.dtype).view(*self.scale.shape, self.group)
        return F.linear(x, (parts * self.scale.unsqueeze(-1)).flatten(1))


def quantized(model: nn.Sequential, group: int) -> nn.Sequential:
    """A model with such matrices in the place of its own."""
    layers = []
    for layer in model.children():
        assert isinstance(layer, LlamaLayer)
        made = LlamaLayer(HIDDEN, INNER, HEADS, KV_HEADS)
        for name, matrix in layer.named_children():
            assert isinstance(matrix, nn.Linear)
            setattr(made, name, Quantized(matrix, group))
        layers.append(made)
    return nn.Sequential(*layers).eval()


def run(rows: list[int], plan: Plan, console: Console) -> dict[str, object]:
    """Measure, print a table for each number of rows, return the report that JSON holds."""
    torch.manual_seed(0)
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = 64  # all are one function to Dynamo
    model = llama().bfloat16()
    forms = {kind: quantized(model, group) for kind, group in GROUPS.items()}
    calls: dict[str, Call] = {EAGER: forms["channel"]}
    for name in WEIGHTS:
        calls[f"{BF16}, {name}"] = compiled(model, name)
        calls |= {f"{kind}, {name}": compiled(form, name) for kind, form in forms.items()}
    found = {count: _timed(calls, forms, count, plan, console) for count in rows}
    for count, timing in found.items():
        console.print(_table(timing, count))
    return {
        "benchmark": "linear, int8",
        "machine": description(),
        "rows": [_as_dict(count, timing) for count, timing in found.items()],
    }


def _timed(
    calls: dict[str, Call], forms: dict[str, nn.Sequential], rows: int, plan: Plan, console: Console
) -> Timing:
    """All contestants; results are compared with those of the matrices that each has."""
    x = torch.randn(rows, HIDDEN).bfloat16()
    for kind, form in forms.items():
        want = form(x).float()
        near = 0.05 * want.abs().max().item()
        for name in WEIGHTS:
            have = calls[f"{kind}, {name}"](x).float()
            torch.testing.assert_close(have, want, rtol=0, atol=near, msg=f"{kind}, {name}")
    timed: dict[str, Callable[[], Any]] = {name: partial(call, x) for name, call in calls.items()}
    buffers = forms["channel"].buffers()
    timed[READ] = read_once(tensor for tensor in buffers if tensor.dtype == torch.int8)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("int8", total=None)
        return measure(
            timed,
            plan,
            Watch.start(),
            lambda text: progress.update(task, description=f"{rows} rows, {text}"),
        )


def _lead(timing: Timing, name: str) -> float:
    """How many times as fast as ours in bfloat16, with weights read the same way."""
    _, _, weights = name.rpartition(", ")
    return timing.ratio(name, f"{BF16}, {weights}") if weights in WEIGHTS else float("nan")


def _as_dict(rows: int, timing: Timing) -> dict[str, object]:
    names = list(timing.seconds)
    return {
        "rows": rows,
        "ms": {name: timing.median(name) * 1e3 for name in names},
        "of_read": {name: timing.ratio(name, READ) for name in names},
        "lead": {name: _lead(timing, name) for name in names if ", " in name},
        "disturbed": timing.disturbed,
    }


def _table(timing: Timing, rows: int) -> Table:
    title = f"int8: {LAYERS} layers of Llama × {HIDDEN}, {rows} row{'s' * (rows != 1)}"
    table = Table(title=title)
    for column in ("", "ms", "of a plain read", f"{BF16} ÷", f"{EAGER} ÷"):
        table.add_column(column, justify="right" if column else "left")
    for name in timing.seconds:
        table.add_row(
            f"{name}{' !' if timing.disturbed else ''}",
            f"{timing.median(name) * 1e3:.2f}",
            f"{timing.ratio(name, READ):.0%}",
            f"{_lead(timing, name):.2f}" if ", " in name else "",
            f"{timing.ratio(name, EAGER):.2f}",
        )
    return table
