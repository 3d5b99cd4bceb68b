"""``python -m benchmarks linear``: the linear layers of BERT-base in turn, weights cold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from benchmarks.fma_peak import fma_peak
from benchmarks.machine import Watch, description
from benchmarks.read_speed import reader
from benchmarks.rounds import Plan, Timing, measure
from snipjit.runtime.engine import host_features
from snipjit.target.target_machine import select

HIDDEN, INNER, LAYERS = 768, 3072, 12
ROWS = [1, 8, 16, 31, 64, 128, 384]
OPTIONS: dict[str, Any] = {"fuse": ["linear"]}
SNIPJIT, EAGER, CONTROL, INDUCTOR = "snipjit", "eager", "eager again", "inductor"
PREPARED = "prepared"
OURS = (SNIPJIT, PREPARED)


class Layer(nn.Module):
    """The four matrices of a layer, each reading what the one before has written."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.output = nn.Linear(HIDDEN, HIDDEN)
        self.up, self.down = nn.Linear(HIDDEN, INNER), nn.Linear(INNER, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """[M, 768] to [M, 768]."""
        inner: Tensor = self.output(self.attention(x)[..., :HIDDEN])
        result: Tensor = x + self.down(F.gelu(self.up(inner)))
        return result


@dataclass(frozen=True)
class Machine:
    """What the machine reaches in this run: FLOP/s of all threads, bytes/s of a plain read."""

    peak: float
    read: float

    @staticmethod
    def measured() -> Machine:
        """Both, the best of some rounds."""
        k, v = torch.ones(2, 1 << 25).unbind()
        read = reader(k, v)
        timing = measure({"read": read}, Plan(rounds=7, slice=0.0), Watch.start())
        peak = fma_peak(select(host_features())) * torch.get_num_threads()
        return Machine(peak, 2 * k.nbytes / min(timing.seconds["read"]))

    def floor(self, rows: int, parameters: int) -> float:
        """Seconds that products of so many rows with so many weights take at least."""
        return max(2 * rows * parameters / self.peak, 4 * parameters / self.read)


def run(rows: list[int], peers: list[str], plan: Plan, console: Console) -> dict[str, object]:
    """Measure, print the table, return the report that JSON holds."""
    torch.manual_seed(0)
    model = nn.Sequential(*(Layer() for _ in range(LAYERS))).eval()
    parameters = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    machine, calls = Machine.measured(), _contestants(model, peers)
    timings = {count: _timed(model, calls, count, plan, console) for count in rows}
    console.print(_table(timings, machine, parameters))
    if any(timing.disturbed for timing in timings.values()):
        console.print("! the machine stayed busy in rows marked so: do not quote them")
    return {
        "benchmark": "linear",
        "machine": description(),
        "gflops": machine.peak / 1e9,
        "read_gbs": machine.read / 1e9,
        "rows": [_as_dict(count, t, machine, parameters) for count, t in timings.items()],
    }


def _contestants(model: nn.Module, peers: list[str]) -> dict[str, Callable[[Tensor], Tensor]]:
    torch._dynamo.reset()
    calls: dict[str, Callable[[Tensor], Tensor]] = {EAGER: model, CONTROL: model}
    if INDUCTOR in peers:
        calls[INDUCTOR] = torch.compile(model, dynamic=True)
    for name, weights in zip(OURS, ("in_place", "prepared"), strict=True):
        options = {**OPTIONS, "weights": weights}
        calls[name] = torch.compile(model, backend="snipjit", dynamic=True, options=options)
    return calls


def _timed(
    model: nn.Module,
    calls: dict[str, Callable[[Tensor], Tensor]],
    rows: int,
    plan: Plan,
    console: Console,
) -> Timing:
    """All contestants with one number of rows; their results are compared first."""
    x = torch.randn(rows, HIDDEN)
    for name, call in calls.items():
        torch.testing.assert_close(call(x), model(x), rtol=1e-3, atol=1e-4, msg=name)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        return measure(
            {name: partial(call, x) for name, call in calls.items()},
            plan,
            Watch.start(),
            lambda text: progress.update(task, description=f"{rows} rows, {text}"),
        )


def _as_dict(rows: int, timing: Timing, machine: Machine, parameters: int) -> dict[str, object]:
    floor = machine.floor(rows, parameters)
    return {
        "rows": rows,
        "ms": {name: timing.median(name) * 1e3 for name in timing.seconds},
        "ratio": {
            ours: {name: timing.ratio(ours, name) for name in timing.seconds} for ours in OURS
        },
        "control": timing.ratio(CONTROL, EAGER),
        "of_floor": {name: floor / timing.median(name) for name in timing.seconds},
        "disturbed": timing.disturbed,
    }


def _table(timings: dict[int, Timing], machine: Machine, parameters: int) -> Table:
    measured = next(iter(timings.values())).seconds
    others = [name for name in measured if name not in (*OURS, CONTROL)]
    title = (
        f"{4 * LAYERS} matrices of BERT-base, ms; FMA peak {machine.peak / 1e9:.0f} GFLOP/s, "
        f"plain read {machine.read / 1e9:.1f} GB/s"
    )
    pairs = [(name, ours) for name in others for ours in OURS]
    columns = ["rows", *others, *OURS, *(f"{name} ÷ {ours}" for name, ours in pairs)]
    table = Table(*columns, "same ÷ same", *(f"{ours} of floor" for ours in OURS), title=title)
    for rows, timing in timings.items():
        floor = machine.floor(rows, parameters)
        table.add_row(
            f"{rows}{' !' if timing.disturbed else ''}",
            *(f"{timing.median(name) * 1e3:.2f}" for name in (*others, *OURS)),
            *(f"{timing.ratio(ours, name):.2f}" for name, ours in pairs),
            f"{timing.ratio(CONTROL, EAGER):.2f}",
            *(f"{floor / timing.median(ours):.0%}" for ours in OURS),
        )
    return table
