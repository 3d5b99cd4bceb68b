"""``python -m benchmarks linear --llama``: the matrices of one decoded token, against a plain read.

Four layers of a Llama of 2048 features (f32, 973 MB). One token multiplies each weight once: no
one is faster than reading them, which ``read`` does with the same memory in the same rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from benchmarks.layers import LlamaLayer
from benchmarks.linear import EAGER, WEIGHTS, Call, compiled
from benchmarks.machine import Watch, description
from benchmarks.read_speed import reader
from benchmarks.rounds import Plan, Timing, measure

HIDDEN, INNER, HEADS, KV_HEADS, LAYERS = 2048, 8192, 32, 8, 4
READ = "read"


def llama() -> nn.Sequential:
    """The matrices of all layers."""
    layers = (LlamaLayer(HIDDEN, INNER, HEADS, KV_HEADS) for _ in range(LAYERS))
    return nn.Sequential(*layers).eval()


def run(plan: Plan, console: Console) -> dict[str, object]:
    """Measure, print the table, return the report that JSON holds."""
    torch.manual_seed(0)
    torch._dynamo.reset()
    model, x = llama(), torch.randn(1, HIDDEN)
    size = sum(parameter.nbytes for parameter in model.parameters())
    timing = _timed(model, x, plan, console)
    console.print(_table(timing, size))
    return {
        "benchmark": "linear, llama",
        "machine": description(),
        "bytes": size,
        "ms": {name: timing.median(name) * 1e3 for name in timing.seconds},
        "of_read": {name: timing.ratio(name, READ) for name in timing.seconds},
        "ratio": {name: timing.ratio(name, EAGER) for name in WEIGHTS},
        "disturbed": timing.disturbed,
    }


def _timed(model: nn.Module, x: Tensor, plan: Plan, console: Console) -> Timing:
    """All contestants on one token; results are compared first."""
    forms: dict[str, Call] = {EAGER: model, **{name: compiled(model, name) for name in WEIGHTS}}
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("llama", total=None)
        for name, form in forms.items():
            progress.update(task, description=f"llama, checking {name}")
            torch.testing.assert_close(form(x), model(x), rtol=1e-3, atol=1e-4, msg=name)
        calls: dict[str, Callable[[], Any]] = {
            name: partial(form, x) for name, form in forms.items()
        }
        calls[READ] = read_once(model.parameters())
        return measure(
            calls,
            plan,
            Watch.start(),
            lambda text: progress.update(task, description=f"llama, {text}"),
        )


def read_once(weights: Iterable[Tensor]) -> Callable[[], None]:
    """A call that reads every weight once and does nothing else."""
    readers = [reader(*weight.detach().view(2, -1).unbind()) for weight in weights]

    def call() -> None:
        for read in readers:
            read()

    return call


def _table(timing: Timing, size: int) -> Table:
    title = f"{LAYERS} layers of Llama × {HIDDEN}, one token: {size / 1e6:.0f} MB"
    table = Table(title=title)
    for column in ("", "ms", "GB/s", "of a plain read", f"{EAGER} ÷"):
        table.add_column(column, justify="right" if column else "left")
    for name in timing.seconds:
        table.add_row(
            f"{name}{' !' if timing.disturbed else ''}",
            f"{timing.median(name) * 1e3:.2f}",
            f"{size / timing.median(name) / 1e9:.1f}",
            f"{timing.ratio(name, READ):.0%}",
            f"{timing.ratio(name, EAGER):.2f}",
        )
    return table
