"""``python -m benchmarks models``: whole models, ours against the best peers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from benchmarks.linear import Machine
from benchmarks.machine import Watch, description
from benchmarks.models import apart
from benchmarks.models.apart import Memory
from benchmarks.models.case import Family, Forms, Inputs, linear_work
from benchmarks.models.contestants import Contestants, Start, Tell, check, prepare
from benchmarks.models.peers import (
    ALONE,
    CONTROL,
    DYNAMO,
    EAGER,
    INDUCTOR,
    OURS,
    PEERS,
    WITH_INDUCTOR,
    Make,
)
from benchmarks.models.plot import write_plot
from benchmarks.models.results import Result, mean_lead
from benchmarks.models.tables import case_table, memory_table, notes, overview, starts_table
from benchmarks.peers.base import Absent
from benchmarks.precisions import F32, Precision
from benchmarks.rounds import Plan, measure


@dataclass
class Run:
    """A run: what is measured with, where it is told, what was found."""

    makers: dict[str, Make]
    precision: Precision
    plan: Plan
    console: Console
    machine: Machine
    watch: Watch
    results: list[Result] = field(default_factory=list)
    starts: dict[str, dict[str, Start]] = field(default_factory=dict)
    memory: dict[str, dict[str, Memory]] = field(default_factory=dict)


def run(
    families: Sequence[Family],
    peers: Sequence[str],
    rounds: int,
    console: Console,
    plot: Path | None = None,
    precision: Precision = F32,
    with_memory: bool = False,
) -> dict[str, object]:
    """Measure the models, print the tables, draw the picture, return the report JSON holds."""
    # No fewer rounds, however long they take: those of the largest models are half a minute.
    plan = Plan(rounds, patience=1, seconds=inf)
    makers = _makers(peers)
    this = Run(makers, precision, plan, console, Machine.measured(), Watch.start())
    title = f"models, {precision.name}, {torch.get_num_threads()} threads; {this.machine.text}"
    console.print(title, highlight=False)
    with _progress(console) as progress, torch._dynamo.config.patch(DYNAMO):
        task = progress.add_task("models", total=sum(len(family.cases) for family in families))
        for family in families:
            _measure_family(family, this, progress, task)
            if with_memory:
                _measure_memory(family, this)
    console.print(overview(this.results, title))
    console.print(starts_table(this.starts))
    if with_memory:
        console.print(memory_table(this.memory))
    for line in notes(this.results):
        console.print(line, highlight=False, markup=False)
    if plot is not None:
        write_plot(plot, this.results, title)
        console.print(f"wrote {plot}")
    return _report(this)


def _makers(peers: Sequence[str]) -> dict[str, Make]:
    """Eager, the peers of these names, and ours: with Inductor where that is one of the peers."""
    ours = {name: make for name, make in OURS.items() if name != WITH_INDUCTOR or INDUCTOR in peers}
    met = {name: make for name, make in PEERS.items() if name in (EAGER, *peers)}
    alone = {name: partial(apart.make, name) for name in met if name in ALONE}
    return met | alone | ours


def _progress(console: Console) -> Progress:
    """Bars with counts: of cases, and below of the rounds of one."""
    bars = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(TextColumn("{task.description}"), *bars, console=console, transient=True)


def _measure_family(family: Family, this: Run, progress: Progress, task: TaskID) -> None:
    """Make the contestants once, and time them on every case."""
    below = progress.add_task(family.name, total=None)

    def tell(text: str) -> None:
        progress.update(below, description=f"{family.name}: {text}")

    tell("building")
    forms = Forms(family, this.precision)
    sets = forms.inputs()
    contestants = prepare(forms, sets, this.makers, tell)
    contestants.calls[CONTROL] = forms.eager
    this.starts[family.name] = contestants.starts
    for name, inputs in zip(family.cases, sets, strict=True):
        this.results.append(_measure_case(name, forms, inputs, contestants, this, tell))
        this.console.print(case_table(this.results[-1]))
        progress.advance(task)
    progress.remove_task(below)


def _measure_case(
    name: str, forms: Forms, inputs: Inputs, contestants: Contestants, this: Run, tell: Tell
) -> Result:
    """Check and time the contestants on one case."""
    checked = check(contestants, forms, inputs, lambda text: tell(f"{name}, {text}"))
    work = linear_work(forms.eager, inputs)
    timing = measure(checked.calls, this.plan, this.watch, lambda text: tell(f"{name}, {text}"))
    floor = this.machine.least(work.flops, work.weights) if work.flops else None
    return Result(name, floor, timing, checked.errors, checked.absent, forms.family.in_mean)


def _measure_memory(family: Family, this: Run) -> None:
    """What each takes in a process of its own, those that cannot run left out."""
    found = this.memory.setdefault(family.name, {})
    for name in this.starts[family.name]:
        with suppress(Absent):
            order = apart.Order(list(family.cases), name, this.precision.name)
            found[name] = apart.memory_of(order)


def _report(this: Run) -> dict[str, object]:
    return {
        "benchmark": "models",
        "dtype": this.precision.name,
        "machine": description(),
        "gflops": this.machine.peak / 1e9,
        "read_gbs": this.machine.read / 1e9,
        "models": [result.as_dict() for result in this.results],
        "starts": {
            model: {name: vars(start) for name, start in found.items()}
            for model, found in this.starts.items()
        },
        "memory": {
            model: {name: vars(memory) for name, memory in found.items()}
            for model, found in this.memory.items()
        },
        "mean_lead": {name: mean_lead(this.results, name) for name in OURS},
    }
