"""``python -m benchmarks demo``: BERT over texts of changing length, compiled and exported.

In f32, then some of the texts in bf16 and f16.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import snipjit
from benchmarks.encoder import Encoder, contestants, text
from benchmarks.latency_plot import write_plot
from benchmarks.lengths import text_lengths
from benchmarks.precisions import F32, PRECISIONS, Precision

OUT = Path("out")
CLASSES = ((1, 16), (17, 32), (33, 64), (65, 512))
"""Length classes of the tables, both ends included."""

SHARE = 8
"""The 16-bit parts run one of so many texts."""

TOLERANCE = 1e-4
"""Largest difference from float32: outputs of a layer norm, so their range is a few units."""

FACTOR = 2.0
"""In 16 bits eager's results differ by more: ours may by so many times as much."""


@dataclass
class Part:
    """One type: milliseconds of every text, and the largest difference from eager in float32.

    Both by contestant. The float32 model has the same weights as those of the type.
    """

    precision: Precision
    lengths: list[int]
    first_call: float = 0.0
    kernels: int = 0
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)

    def class_median(self, name: str, shortest: int, longest: int) -> float:
        """Median time of the texts in a length class that is not empty."""
        pairs = zip(self.lengths, self.milliseconds[name], strict=True)
        return median(time for length, time in pairs if shortest <= length <= longest)

    @property
    def allowed(self) -> float:
        """The largest difference that ours may have."""
        return max(TOLERANCE, FACTOR * self.errors["eager"])

    def as_dict(self) -> dict[str, object]:
        """The part as JSON holds it."""
        return {
            "first_call_seconds": self.first_call,
            "kernels": self.kernels,
            "errors": self.errors,
            "lengths": self.lengths,
            "ms": self.milliseconds,
        }


def run(texts: int, layers: int, console: Console) -> dict[str, object]:
    """The whole demo; returns the numbers of the tables. Raises SystemExit if one is wrong."""
    OUT.mkdir(exist_ok=True)
    console.print(f"BERT-base from its config, random weights, {layers} layers")
    torch.manual_seed(0)
    encoder, lengths = Encoder(layers), text_lengths(texts)
    parts = [
        _run_part(precision, encoder, lengths[:: 1 if precision is F32 else SHARE], console)
        for precision in PRECISIONS.values()
    ]
    _export_and_run(encoder, console)
    plot = OUT / "latency.png"
    write_plot(plot, parts[0].lengths, parts[0].milliseconds)
    console.print(f"plot of {F32.name}: {plot}")
    for part in parts:
        _show(part, console)
    return {"benchmark": "demo", **{part.precision.name: part.as_dict() for part in parts}}


def _run_part(precision: Precision, encoder: Encoder, lengths: list[int], console: Console) -> Part:
    """Compile the model in a type, and run every text."""
    models = contestants(encoder, precision.dtype)
    part = Part(precision, lengths)
    snipjit.reset_stats()
    with torch.inference_mode():
        part.first_call = _first_call(models["snipjit"], models["eager"], lengths[0])
        console.print(
            f"{precision.name}: first call, Dynamo and kernel compilation included: "
            f"{part.first_call:.1f} s"
        )
        # In f32 eager is the reference.
        exact = None if precision is F32 else models["eager"].copied("eager", torch.float32)
        _run_texts(part, models, exact, console)
    part.kernels = snipjit.stats().kernels
    return part


def _first_call(compiled: Any, eager: Any, length: int) -> float:
    """Seconds of the call that compiles."""
    eager(*text(length))
    start = perf_counter()
    compiled(*text(length))
    return perf_counter() - start


def _run_texts(part: Part, models: Mapping[str, Any], exact: Any, console: Console) -> None:
    """Every text through every model, beginning with another model each time."""
    names = list(models)
    part.milliseconds = {name: [] for name in names}
    part.errors = dict.fromkeys(names, 0.0)
    title = f"{len(part.lengths)} texts, {part.precision.name}"
    for turn, length in enumerate(track(part.lengths, title, console=console)):
        inputs, outputs = text(length), {}
        for name in names[turn % 3 :] + names[: turn % 3]:
            start = perf_counter()
            outputs[name] = models[name](*inputs)
            part.milliseconds[name].append((perf_counter() - start) * 1e3)
        wanted = exact(*inputs) if exact else outputs["eager"]
        for name in names:
            error = float((outputs[name] - wanted).abs().max())
            part.errors[name] = max(part.errors[name], error)


def _export_and_run(model: Any, console: Console) -> None:
    """Export the model with a dynamic length, and run the file by the command line."""
    path = OUT / "bert.pt2"
    length = torch.export.Dim("length", min=2, max=512)
    with torch.no_grad():
        exported = torch.export.export(model, text(31), dynamic_shapes=({1: length}, {1: length}))
    torch.export.save(exported, path)
    command = ["snipjit", "run", str(path), "--compare", "--size", "input_ids.1=31"]
    console.print(f"[bold]$ {' '.join(command)}")
    subprocess.run([sys.executable, "-m", *command], check=True)


def _show(part: Part, console: Console) -> None:
    """Print a part's table. Raises SystemExit if its results are wrong."""
    console.print(_table(part))
    errors = ", ".join(f"{name} {error:.1e}" for name, error in part.errors.items())
    console.print(f"kernels: {part.kernels}; largest difference from f32: {errors}")
    if not part.errors["snipjit"] < part.allowed:
        raise SystemExit(
            f"the results in {part.precision.name} differ from eager in f32 by more than "
            f"{part.allowed:.1e}"
        )


def _table(part: Part) -> Table:
    """Median milliseconds a text by length class."""
    threads = torch.get_num_threads()
    table = Table(title=f"BERT, median ms a text, {part.precision.name}, {threads} threads")
    for title in ("tokens", "texts", *part.milliseconds, "vs eager", "vs sdpa"):
        table.add_column(title, justify="right")
    for shortest, longest in CLASSES:
        count = sum(shortest <= length <= longest for length in part.lengths)
        if count:
            times = [part.class_median(name, shortest, longest) for name in part.milliseconds]
            ratios = [f"{time / times[-1]:.2f}x" for time in times[:-1]]
            cells = [f"{time:.1f}" for time in times]
            table.add_row(f"{shortest}–{longest}", str(count), *cells, *ratios)
    return table
