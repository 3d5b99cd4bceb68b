"""``python -m benchmarks attention``: one attention at fixed sizes, against eager and SDPA."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import contestants
from benchmarks.machine import Watch, description, matmul_peak
from benchmarks.rounds import Plan, Timing, measure
from benchmarks.rows import Row
from snipjit.compare import error_between

LARGEST_ERROR = 1e-4
"""Against float64 on normal inputs; a contestant beyond it is not worth timing."""


@dataclass(frozen=True)
class Result:
    """What was measured for one row."""

    row: Row
    timing: Timing
    errors: dict[str, float]

    def as_dict(self, peak: float) -> dict[str, object]:
        """The result as JSON holds it: milliseconds, ratios to ours, GFLOP/s."""
        timing, rate = self.timing, self.row.flops / self.timing.median("snipjit")
        return {
            "row": self.row.name,
            "shape": self.row.shape,
            "mask": self.row.mask,
            "ms": {name: timing.median(name) * 1e3 for name in timing.seconds},
            "ratio": {name: timing.ratio("snipjit", name) for name in timing.seconds},
            "gflops": rate / 1e9,
            "of_matmul_peak": rate / peak,
            "errors": self.errors,
            "rounds": len(timing.seconds["snipjit"]),
            "spoiled_rounds": timing.spoiled,
            "disturbed": timing.disturbed,
            "mask_cost": self.mask_cost,
        }

    @property
    def mask_cost(self) -> float | None:
        """What the mask adds to our time, 0.1 for 10 %; None for a row without one."""
        return self.timing.ratio("plain", "snipjit") - 1 if self.row.mask else None


def run(rows: list[Row], plan: Plan, console: Console) -> dict[str, object]:
    """Measure the rows, print the table, and return the report that JSON holds."""
    peak, watch = matmul_peak(), Watch.start()
    results = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("attention", total=len(rows))
        for row in rows:
            results.append(_measure_row(row, plan, watch, progress))
            progress.advance(task)
    report = [result.as_dict(peak) for result in results]
    console.print(_table(results, peak))
    for line in _notes(results, peak):
        console.print(line)
    return {
        "benchmark": "attention",
        "machine": description(),
        "matmul_gflops": peak / 1e9,
        "rows": report,
    }


def _measure_row(row: Row, plan: Plan, watch: Watch, progress: Progress) -> Result:
    """Check and time every contestant on one row."""
    task = progress.add_task(f"{row.name} {row.shape}: preparing", total=None)
    inputs = row.inputs()
    calls = contestants.attention(inputs)
    exact = contestants.exact(*inputs)
    errors = {name: error_between(calls[name]().double(), exact)[0] for name in contestants.NAMES}
    wrong = [
        f"{name} by {error:.1e}" for name, error in errors.items() if not error < LARGEST_ERROR
    ]
    if wrong:
        raise SystemExit(f"row {row.name}: results differ from float64: {', '.join(wrong)}")
    del exact
    gc.collect()
    timing = measure(
        calls, plan, watch, lambda text: progress.update(task, description=f"{row.name}: {text}")
    )
    progress.remove_task(task)
    return Result(row, timing, errors)


def _table(results: list[Result], peak: float) -> Table:
    table = Table(title=f"attention, f32, {torch.get_num_threads()} threads, medians in ms")
    for title in ("row", "B,H,S,D", "eager", "sdpa", "snipjit", "compile"):
        table.add_column(title, justify="left" if title == "row" else "right")
    for title in ("vs eager", "vs sdpa", "compile vs sdpa", "GFLOP/s", "of peak", "spoiled"):
        table.add_column(title, justify="right")
    for result in results:
        timing = result.timing
        rate = result.row.flops / timing.median("snipjit")
        table.add_row(
            result.row.name,
            result.row.shape,
            *(f"{timing.median(name) * 1e3:.3f}" for name in contestants.NAMES),
            f"{timing.ratio('snipjit', 'eager'):.2f}x",
            f"{timing.ratio('snipjit', 'sdpa'):.2f}x",
            f"{timing.ratio('compile', 'sdpa'):.2f}x",
            f"{rate / 1e9:.0f}",
            f"{rate / peak:.0%}",
            f"{timing.spoiled}{'!' if timing.disturbed else ''}",
        )
    return table


def _notes(results: list[Result], peak: float) -> list[str]:
    notes = [
        "snipjit: the launcher called directly; compile: the whole torch.compile call, guards too",
        "vs: how many times as fast, the median of the rounds' ratios",
        f"of peak: of torch.matmul's best, {peak / 1e9:.0f} GFLOP/s (512³ to 2048³, f32), a proxy",
    ]
    notes += [
        f"{result.row.name} mask: {result.mask_cost:+.1%} of our time without it"
        for result in results
        if result.mask_cost is not None
    ]
    if any(result.timing.disturbed for result in results):
        notes.append("! the machine stayed busy: spoiled rounds are in the medians, do not quote")
    return notes
