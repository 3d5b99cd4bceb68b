"""``python -m benchmarks linear``: the linear layers of BERT-base in turn, weights cold.

12 layers of 28 MB for up to 512 rows, a third of them for more, which is still beyond caches of a
core. Inductor compiles all of them at once, as we do; OpenVINO has a model for each matrix. In
16 bits (``--dtype``) our own kernels of float32 are contestants too, and OpenVINO is none.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn

from benchmarks.fma_peak import fma_peak
from benchmarks.layers import BertLayer, Down
from benchmarks.linear_plot import write_plot
from benchmarks.machine import Watch, description
from benchmarks.peers import openvino
from benchmarks.peers.base import Absent
from benchmarks.precisions import F32, PRECISIONS, Precision
from benchmarks.read_speed import reader
from benchmarks.rounds import Plan, Timing, measure
from snipjit.runtime.engine import host_features
from snipjit.target.target_machine import select

HIDDEN, INNER, LAYERS = 768, 3072, 12
ROWS = [1, 8, 16, 31, 64, 128, 384]
MANY = 512
"""Rows for more than which a third of the layers must do."""
OPTIONS: dict[str, Any] = {"fuse": ["linear"]}
EAGER, CONTROL, INDUCTOR, OPENVINO = "eager", "eager again", "inductor", "openvino"
SNIPJIT, PREPARED = "snipjit", "prepared"
WEIGHTS = {SNIPJIT: "in_place", PREPARED: "prepared"}
"""The option of ours, by contestants."""
OURS = tuple(WEIGHTS)
IN_FLOAT32 = {f"f32, {name}": name for name in OURS}
"""Ours with the same weights in float32, beside those of 16 bits."""

Call = Callable[[Tensor], Tensor]


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

    def floor(self, rows: int, parameters: int, bytes: int = 4) -> float:
        """Seconds that products of so many rows with so many weights take at least."""
        return self.least(2 * rows * parameters, bytes * parameters)

    def least(self, flops: int, read: int) -> float:
        """Seconds that nobody goes below: of operations or of bytes read, whatever is more."""
        return max(flops / self.peak, read / self.read)

    @property
    def text(self) -> str:
        """Both, for people."""
        return f"FMA peak {self.peak / 1e9:.0f} GFLOP/s, plain read {self.read / 1e9:.1f} GB/s"


@dataclass(frozen=True)
class Row:
    """What was measured with one number of rows; ``floor``: seconds that nobody goes below."""

    rows: int
    layers: int
    floor: float
    timing: Timing


def run(
    rows: list[int],
    peers: list[str],
    plan: Plan,
    console: Console,
    plot: Path | None = None,
    precision: Precision = F32,
) -> dict[str, object]:
    """Measure, print the table, draw the picture, return the report that JSON holds."""
    torch.manual_seed(0)
    model = nn.Sequential(*(BertLayer(HIDDEN, INNER) for _ in range(LAYERS))).eval()
    model = model.to(precision.dtype)
    machine, found, absent = Machine.measured(), list[Row](), dict[str, str]()
    for layers in dict.fromkeys(map(_layers, rows)):
        part = model[:layers]
        parameters = sum(p.numel() for p in part.parameters() if p.dim() == 2)
        calls = _contestants(part, peers, absent, precision)
        for count in (count for count in rows if _layers(count) == layers):
            timing = _timed(part, calls, count, plan, console, precision)
            floor = machine.floor(count, parameters, precision.dtype.itemsize)
            found.append(Row(count, layers, floor, timing))
    console.print(_table(found, f"{_title(machine)}, {precision.name}"))
    _print_notes(found, absent, console)
    if plot is not None:
        write_plot(plot, _over_floor(found), _title(machine))
        console.print(f"wrote {plot}")
    return {
        "benchmark": "linear",
        "machine": description(),
        "dtype": precision.name,
        "gflops": machine.peak / 1e9,
        "read_gbs": machine.read / 1e9,
        "rows": [_as_dict(row) for row in found],
        "absent": absent,
    }


def compiled(model: nn.Module, name: str) -> Call:
    """One of ours."""
    options = {**OPTIONS, "weights": WEIGHTS[name]}
    call: Call = torch.compile(model, backend="snipjit", dynamic=True, options=options)
    return call


def _layers(rows: int) -> int:
    return LAYERS if rows <= MANY else max(LAYERS // 3, 1)


def _contestants(
    model: nn.Module, peers: list[str], absent: dict[str, str], precision: Precision = F32
) -> dict[str, Call]:
    """All by name; those that cannot run are noted as absent."""
    torch._dynamo.reset()  # of other layers: their code is the same, and so are its caches
    calls: dict[str, Call] = {EAGER: model, CONTROL: model}
    if INDUCTOR in peers:
        calls[INDUCTOR] = torch.compile(model, dynamic=True)
    if OPENVINO in peers:
        try:
            calls[OPENVINO] = _by_openvino(model, precision)
        except Absent as reason:
            absent[OPENVINO] = str(reason)
    if precision is not F32:
        full = copy.deepcopy(model).float()
        calls |= {name: _widened(compiled(full, own)) for name, own in IN_FLOAT32.items()}
    return {**calls, **{name: compiled(model, name) for name in OURS}}


def _widened(call: Call) -> Call:
    """The same of an input that becomes float32, a small part of the time."""
    return lambda x: call(x.float())


class _Request(nn.Module):
    """A matrix, and what is fused behind it, as a model of OpenVINO's; its weights are constant."""

    def __init__(self, matrix: nn.Linear) -> None:
        super().__init__()
        residual = [torch.randn(2, matrix.out_features)] if isinstance(matrix, Down) else []
        example = (torch.randn(2, matrix.in_features), *residual)
        self.form = openvino.compiled(matrix, example, PRECISIONS["f32"])

    def forward(self, *tensors: Tensor) -> Tensor:
        """The result of the request, which reads memory without gaps."""
        return self.form(*(tensor.contiguous() for tensor in tensors))


def _by_openvino(model: nn.Module, precision: Precision = F32) -> Call:
    """The same layers with a request in the place of each matrix."""
    if precision is not F32:
        raise Absent(f"not in {precision.name}, which it computes in float32")
    with torch.device("meta"):
        copy = nn.Sequential(*(BertLayer(HIDDEN, INNER) for _ in model.children()))
    for layer, own in zip(model.children(), copy, strict=True):
        for name, matrix in layer.named_children():
            assert isinstance(matrix, nn.Linear)
            setattr(own, name, _Request(matrix))
    return copy


def _timed(
    model: nn.Module,
    calls: Mapping[str, Call],
    rows: int,
    plan: Plan,
    console: Console,
    precision: Precision,
) -> Timing:
    """All contestants with one number of rows; their results are compared first."""
    x = torch.randn(rows, HIDDEN).to(precision.dtype)
    want = model(x).float()
    near = precision.largest_error * max(want.abs().max().item(), 1.0)
    for name, call in calls.items():
        torch.testing.assert_close(call(x).float(), want, rtol=1e-3, atol=near, msg=name)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        return measure(
            {name: partial(call, x) for name, call in calls.items()},
            plan,
            Watch.start(),
            lambda text: progress.update(task, description=f"{rows} rows, {text}"),
        )


def _as_dict(row: Row) -> dict[str, object]:
    timing = row.timing
    return {
        "rows": row.rows,
        "layers": row.layers,
        "floor_ms": row.floor * 1e3,
        "ms": {name: timing.median(name) * 1e3 for name in timing.seconds},
        "ratio": {
            ours: {name: timing.ratio(ours, name) for name in timing.seconds} for ours in OURS
        },
        "control": timing.ratio(CONTROL, EAGER),
        "of_floor": {name: row.floor / timing.median(name) for name in timing.seconds},
        "disturbed": timing.disturbed,
    }


def _over_floor(found: list[Row]) -> Mapping[str, Mapping[int, float]]:
    """Times of the floor, by contestant and rows."""
    names = [name for name in found[0].timing.seconds if name != CONTROL]
    return {
        name: {row.rows: row.timing.median(name) / row.floor for row in found} for name in names
    }


def _title(machine: Machine) -> str:
    return f"{4 * LAYERS} matrices of BERT-base; {machine.text}"


def _table(found: list[Row], title: str) -> Table:
    """A line for each number of rows; a cell of ratios has one for each of ours."""
    others = [name for name in found[0].timing.seconds if name not in (*OURS, CONTROL)]
    table = Table(title=f"ms of {title}")
    ratios = (*(f"{name} ÷" for name in others), "of the floor")
    for column in ("rows", *others, *OURS, *(f"{name}\n{' / '.join(OURS)}" for name in ratios)):
        table.add_column(column, justify="right")
    table.add_column("same ÷ same", justify="right")
    for row in found:
        timing, star = row.timing, "" if row.layers == LAYERS else " *"
        table.add_row(
            f"{row.rows}{star}{' !' if timing.disturbed else ''}",
            *(f"{timing.median(name) * 1e3:.2f}" for name in (*others, *OURS)),
            *(" / ".join(f"{timing.ratio(ours, name):.2f}" for ours in OURS) for name in others),
            " / ".join(f"{row.floor / timing.median(ours):.0%}" for ours in OURS),
            f"{timing.ratio(CONTROL, EAGER):.2f}",
        )
    return table


def _print_notes(found: list[Row], absent: Mapping[str, str], console: Console) -> None:
    fewer = {row.layers for row in found if row.layers != LAYERS}
    for layers in fewer:
        console.print(f"* {4 * layers} matrices alone", highlight=False)
    for name, reason in absent.items():
        console.print(f"no {name}: {reason}", highlight=False, markup=False)
    if any(row.timing.disturbed for row in found):
        console.print("! the machine stayed busy in rows marked so: do not quote them")
