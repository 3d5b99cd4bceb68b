"""``python -m benchmarks demo``: BERT over texts of changing length, compiled and exported.

In f32, then some of the texts in bf16 and f16. Ours beside eager, SDPA and OpenVINO; in f32 beside
Inductor too, whose compilation takes half a minute.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import snipjit
from benchmarks.encoder import Encoder, text
from benchmarks.latency_plot import write_plot
from benchmarks.lengths import text_lengths
from benchmarks.linear import PREPARED, SNIPJIT
from benchmarks.models.case import Family, Forms
from benchmarks.models.contestants import prepare
from benchmarks.models.peers import EAGER, INDUCTOR, OPENVINO, OURS, PEERS, SDPA, Make
from benchmarks.models.text import to_sdpa
from benchmarks.precisions import F32, PRECISIONS, Precision

OUT = Path("out")
CLASSES = ((1, 16), (17, 32), (33, 64), (65, 512))
"""Length classes of the tables, both ends included."""

WARM_UP = (256, 16, 2)
"""Lengths that everyone meets before the first text: many rows, some, and few."""

SHARE = 8
"""The 16-bit parts run one of so many texts, """
SECONDS, LEAST = 20.0, 2
"""... and after so many seconds no further one, but so many at least."""

TOLERANCE = 1e-4
"""Largest difference from float32: outputs of a layer norm, so their range is a few units."""

FACTOR = 2.0
"""In 16 bits eager's results differ by more: ours may by so many times as much."""


@dataclass
class Part:
    """One type: milliseconds of every text, and the largest difference from eager in float32.

    Both by contestant, as are the seconds of first calls. ``lengths`` are those of the texts that
    have run, ``absent`` says why a contestant did not. The float32 model has the same weights as
    those of the type.
    """

    precision: Precision
    lengths: list[int]
    first_calls: dict[str, float] = field(default_factory=dict)
    kernels: int = 0
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def class_median(self, name: str, shortest: int, longest: int) -> float:
        """Median time of the texts in a length class that is not empty."""
        pairs = zip(self.lengths, self.milliseconds[name], strict=True)
        return median(time for length, time in pairs if shortest <= length <= longest)

    @property
    def ours(self) -> list[str]:
        """Who of us has run."""
        return [name for name in self.milliseconds if name in OURS]

    @property
    def allowed(self) -> float:
        """The largest difference that ours may have."""
        return max(TOLERANCE, FACTOR * self.errors[EAGER])

    def as_dict(self) -> dict[str, object]:
        """The part as JSON holds it."""
        return {
            "first_call_seconds": self.first_calls,
            "kernels": self.kernels,
            "errors": self.errors,
            "lengths": self.lengths,
            "ms": self.milliseconds,
            "absent": self.absent,
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
    title = f"BERT-base, {F32.name}, {torch.get_num_threads()} threads, {texts} texts"
    write_plot(plot, parts[0].lengths, parts[0].milliseconds, title)
    console.print(f"plot of {F32.name}: {plot}")
    for part in parts:
        _show(part, console)
    return {"benchmark": "demo", **{part.precision.name: part.as_dict() for part in parts}}


def _makers(precision: Precision) -> dict[str, Make]:
    """Who runs: eager first, ours last."""
    inductor = {INDUCTOR: PEERS[INDUCTOR]} if precision is F32 else {}
    peers = {name: PEERS[name] for name in (EAGER, SDPA, OPENVINO)}
    return {**peers, **inductor, **{name: OURS[name] for name in (SNIPJIT, PREPARED)}}


def _run_part(precision: Precision, encoder: Encoder, lengths: list[int], console: Console) -> Part:
    """Compile the model in a type, and run the texts."""
    family = Family("bert", partial(encoder.copied, precision.dtype), {}, to_sdpa)
    part = Part(precision, [])
    snipjit.reset_stats()
    with torch.inference_mode():
        forms = Forms(family, precision)
        with console.status(f"{precision.name}: compiling") as status:
            found = prepare(
                forms,
                [text(lengths[0])],
                _makers(precision),
                lambda what: status.update(f"{precision.name}: {what}"),
            )
        part.absent = found.absent
        for name, call in found.calls.items():
            with console.status(f"{precision.name}: warming up {name}"):
                part.first_calls[name] = found.starts[name].seconds + _warm_up(call)
        # In f32 eager is the reference.
        exact = None if precision is F32 else encoder.copied(torch.float32)
        _run_texts(part, lengths, found.calls, exact, console)
    part.kernels = snipjit.stats().kernels
    return part


def _warm_up(call: Any) -> float:
    """Seconds of calls with many rows, some, and few, as a server makes them before its first."""
    start = perf_counter()
    for length in WARM_UP:
        call(*text(length))
    return perf_counter() - start


def _run_texts(
    part: Part, lengths: list[int], models: Mapping[str, Any], exact: Any, console: Console
) -> None:
    """Texts through every model, beginning with another model each time, while there is time."""
    names = list(models)
    part.milliseconds = {name: [] for name in names}
    part.errors = dict.fromkeys(names, 0.0)
    title, end = f"{len(lengths)} texts, {part.precision.name}", perf_counter() + SECONDS
    for turn, length in enumerate(track(lengths, title, console=console)):
        if exact and turn >= LEAST and perf_counter() > end:
            break
        inputs, outputs = text(length), {}
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = perf_counter()
            outputs[name] = models[name](*inputs)
            part.milliseconds[name].append((perf_counter() - start) * 1e3)
        part.lengths.append(length)
        wanted = exact(*inputs) if exact else outputs[EAGER]
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
    """Print a part's table. Raises SystemExit if results of ours are wrong or missing."""
    if SNIPJIT not in part.errors:
        raise SystemExit(f"no result in {part.precision.name}: {part.absent[SNIPJIT]}")
    console.print(_table(part))
    for name, reason in part.absent.items():
        console.print(f"no {name}: {reason}", markup=False)
    firsts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in part.first_calls.items())
    console.print(f"first calls, compilation included, s: {firsts}")
    errors = ", ".join(f"{name} {error:.1e}" for name, error in part.errors.items())
    console.print(f"kernels: {part.kernels}; largest difference from f32: {errors}")
    for name in part.ours:
        if not part.errors[name] < part.allowed:
            raise SystemExit(
                f"the results of {name} in {part.precision.name} differ from eager in f32 by more "
                f"than {part.allowed:.1e}"
            )


def _table(part: Part) -> Table:
    """Median milliseconds a text by length class; under "vs" how many times the last one's."""
    threads, others = (
        torch.get_num_threads(),
        [name for name in part.milliseconds if name not in part.ours],
    )
    table = Table(title=f"BERT, median ms a text, {part.precision.name}, {threads} threads")
    for title in ("tokens", "texts", *part.milliseconds, *(f"vs {name}" for name in others)):
        table.add_column(title, justify="right")
    for shortest, longest in CLASSES:
        count = sum(shortest <= length <= longest for length in part.lengths)
        if count:
            times = [part.class_median(name, shortest, longest) for name in part.milliseconds]
            ratios = [f"{time / times[-1]:.2f}x" for time in times[: len(others)]]
            cells = [f"{time:.1f}" for time in times]
            table.add_row(f"{shortest}–{longest}", str(count), *cells, *ratios)
    return table
