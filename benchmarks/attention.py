"""``python -m benchmarks attention``: one attention at fixed sizes, against the best peers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import cache
from math import inf

from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from benchmarks.attention_table import notes, row_line, table
from benchmarks.contestants import COMPILE, OURS, READ, Contestants, prepare
from benchmarks.machine import Watch, description, matmul_peak
from benchmarks.meanings import exact
from benchmarks.peers.base import Inputs
from benchmarks.peers.table import PEERS
from benchmarks.precisions import Precision
from benchmarks.read_speed import misread
from benchmarks.results import Result, below, mean_lead
from benchmarks.rounds import Plan, measure
from benchmarks.rows import Row, select
from snipjit.cli.compare import error_between

AS_THE_SOURCE = 2.0
"""How many times the error of the source itself, run eagerly, a peer may have in any case.

In 16 bits some models round scores that are large: what computes the same is no worse than theirs.
"""


def run(
    names: list[str], precision: Precision, peers: list[str], plan: Plan, console: Console
) -> dict[str, object]:
    """Measure the rows, print the table, and return the report that JSON holds."""
    rows = select(names, precision)
    peak, watch = matmul_peak(precision.dtype), Watch.start()
    results = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("attention", total=len(rows))
        for row in rows:
            results.append(_measure_row(row, peers, plan, watch, progress))
            progress.advance(task)
            console.print(row_line(results[-1]), highlight=False)
    console.print(table(results, precision))
    for line in notes(results, precision, peak):
        console.print(line, highlight=False, markup=False)
    return {
        "benchmark": "attention",
        "dtype": precision.name,
        "machine": description(),
        "matmul_gflops": peak / 1e9,
        "peers": peers,
        "rows": [result.as_dict(peak) for result in results],
        "mean_lead": mean_lead(results, OURS),
        "mean_compile_lead": mean_lead(results, COMPILE),
        "wanted_lead": precision.wanted_lead,
        "wanted_mean": precision.wanted_mean,
        "below": [result.row.name for result in below(results)],
    }


def _measure_row(
    row: Row, peers: Sequence[str], plan: Plan, watch: Watch, progress: Progress
) -> Result:
    """Check and time every contestant on one row."""
    task = progress.add_task(f"{row.name} {row.shape}", total=None)

    def tell(text: str) -> None:
        progress.update(task, description=f"{row.name} {row.shape}: {text}")

    sets = row.input_sets()
    contestants = prepare(row, sets, peers, tell)
    errors = check(contestants, row, sets[0], tell)
    gc.collect()
    timing = measure(contestants.in_turn(), plan, watch, tell)
    progress.remove_task(task)
    return Result(row, row.flops(sets[0]), timing, errors, contestants.absent)


def check(
    contestants: Contestants,
    row: Row,
    inputs: Inputs,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, float]:
    """Every contestant's largest difference from float64; those that are wrong leave."""
    progress("checking")
    reference, errors = exact(row.meaning, inputs), {}
    own = cache(lambda: _error("eager", row.model.form(*inputs), reference, inputs))
    for name, calls in list(contestants.calls.items()):
        error = errors[name] = _error(name, calls[0](), reference, inputs)
        right = error < row.precision.largest_error
        if not right and not (name in PEERS and error <= AS_THE_SOURCE * own()):
            del contestants.calls[name]
            contestants.absent[name] = f"its result differs from float64 by {errors[name]:.1e}"
    return errors


def _error(name: str, result: Tensor, reference: Tensor, inputs: Inputs) -> float:
    """The largest difference; for ``read``, 0 where it has read everything, else infinity."""
    if name == READ:
        return inf if misread(result, *inputs[1:3]) else 0.0
    return error_between(result.double(), reference)[0]
