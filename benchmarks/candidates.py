"""``python -m benchmarks candidates``: the schedules of a structure side by side, by rows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.fma_peak import fma_peak
from benchmarks.machine import Watch, description
from benchmarks.rounds import Plan, measure
from benchmarks.structures import GRAPHS
from snipjit.compiler import assemble, lower
from snipjit.errors import UnsupportedError
from snipjit.ir.schedule import OF_PRODUCTS
from snipjit.ir.subgraph import Subgraph
from snipjit.passes.linear import serving
from snipjit.recipes import interface_of
from snipjit.runtime import engine
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.structure import Structure
from snipjit.target.target_machine import TargetMachine, select

ROWS = (1, 2, 4, 8, 16, 31, 64, 128, 384)
OTHER = {"h": 12, "n": 512, "j": 64, "k": 768}
"""Sizes of the other axes that a call decides."""
SLOW = 0.95
"""Under this share of the best one's speed the choice of the table is marked."""


def run(names: list[str], rows: list[int], plan: Plan, console: Console) -> dict[str, object]:
    """Measure the structures, print a table each, return the report that JSON holds."""
    target, watch, found = select(engine.host_features()), Watch.start(), []
    peak = fma_peak(target) * torch.get_num_threads()
    for name in names:
        measured = _structure(GRAPHS[name](), rows, target, plan, watch)
        console.print(_table(name, measured, peak))
        found.append({"structure": name, "rows": measured})
    return {"benchmark": "candidates", "machine": description(), "peak": peak, "found": found}


def launchers(subgraph: Subgraph, target: TargetMachine) -> dict[str, Launcher]:
    """The kernel of each schedule that a canonical Subgraph has or might have, by its name."""
    made, own = {}, [row.schedule for row in serving(subgraph, target) if row.schedule]
    for schedule in dict.fromkeys((*OF_PRODUCTS, *own)):
        try:
            lir = lower(subgraph, target, schedule=schedule)
        except UnsupportedError:
            continue
        kernel = assemble(schedule.value, lir, target)()
        made[schedule.value] = Launcher(Structure.single(interface_of(subgraph), kernel))
    return made


def _structure(
    subgraph: Subgraph, rows: list[int], target: TargetMachine, plan: Plan, watch: Watch
) -> list[dict[str, Any]]:
    """For each number of rows the times of all schedules, and which of them the table takes."""
    kernels, table, found = launchers(subgraph, target), serving(subgraph, target), []
    for number in rows:
        sizes = {axis: size or {**OTHER, "m": number}[axis] for axis, size in subgraph.axes.items()}
        tensors = _tensors(subgraph, sizes)
        calls = {name: partial(kernel, *tensors) for name, kernel in kernels.items()}
        timing = measure(calls, plan, watch)
        found.append({
            "rows": number,
            "flops": _flops(subgraph, sizes),
            "ms": {name: timing.median(name) * 1e3 for name in calls},
            "chosen": next(
                row.schedule.value for row in table if row.schedule and row.suits(sizes)
            ),
            "disturbed": timing.disturbed,
        })  # fmt: skip
    return found


def _tensors(subgraph: Subgraph, sizes: Mapping[str, int]) -> list[torch.Tensor]:
    """Inputs of a call; sums over their last axis are about 1."""
    shapes = [[sizes[axis] for axis in node.type.axes] for node in subgraph.parameters]
    return [torch.randn(shape) / max(shape[-1], 1) ** 0.5 for shape in shapes]


def _flops(subgraph: Subgraph, sizes: Mapping[str, int]) -> int:
    products = subgraph.of("brgemm")
    return sum(
        2 * prod(sizes[axis] for axis in {*node.type.axes, *node.attrs["over"]})
        for node in products
    )


def _table(name: str, measured: list[dict[str, Any]], peak: float) -> Table:
    schedules = list(measured[0]["ms"])
    table = Table(title=f"{name}: ms by schedule; FMA peak {peak / 1e9:.0f} GFLOP/s")
    for title in ("rows", *schedules, "of the peak", "chosen", ""):
        table.add_column(title, justify="right")
    for row in measured:
        best = min(row["ms"], key=row["ms"].get)
        share = row["ms"][best] / row["ms"][row["chosen"]]
        of_peak = row["flops"] / (row["ms"][row["chosen"]] * 1e-3) / peak
        times = (f"{row['ms'][schedule]:.3f}" for schedule in schedules)
        mark = "" if share >= SLOW else f"{best} is {1 / share:.2f} times as fast"
        mark += " !" if row["disturbed"] else ""
        table.add_row(str(row["rows"]), *times, f"{of_peak:.2f}", row["chosen"], mark)
    return table
