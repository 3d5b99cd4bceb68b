"""The attention benchmark's results as a table, with what is to be said about it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rich.table import Table

from benchmarks.contestants import COMPILE, OURS, READ
from benchmarks.peers.table import PEERS
from benchmarks.precisions import Precision
from benchmarks.results import Result, below, mean_lead


def table(results: Sequence[Result], precision: Precision) -> Table:
    """Medians in milliseconds, ratios to the best peer, rates."""
    timed = {name for result in results for name in result.names}
    columns = [name for name in (OURS, COMPILE, *PEERS, READ) if name in timed]
    title = f"attention, {precision.name}, {torch.get_num_threads()} threads, medians in ms"
    result_table = Table(title=title, padding=(0, 0))
    result_table.add_column("row")
    for name in ("B,H,S,D", *columns, "best", "vs best", "compile vs best", "GFLOP/s"):
        result_table.add_column(name, justify="right")
    if READ in timed:
        result_table.add_column("of read", justify="right")
    result_table.add_column("spoiled", justify="right")
    for result in results:
        result_table.add_row(*_cells(result, columns, READ in timed))
    return result_table


def _cells(result: Result, columns: Sequence[str], with_read: bool) -> list[str]:
    timing = result.timing
    medians = [ms(timing.median(name)) if name in result.names else "–" for name in columns]
    rate = "–" if result.rate is None else f"{result.rate / 1e9:.0f}"
    read = [] if not with_read else [_percent(result.of_read_speed)]
    spoiled = f"{timing.spoiled}{'!' if timing.disturbed else ''}"
    leads = [ratio(result.lead(name)) for name in (OURS, COMPILE)]
    best = result.best_peer or "–"
    return [result.row.name, result.row.shape, *medians, best, *leads, rate, *read, spoiled]


def ms(seconds: float) -> str:
    """Three digits that count."""
    ms = seconds * 1e3
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 10 else f"{ms:.1f}"


def ratio(value: float | None) -> str:
    """How many times as fast, as the table shows it."""
    return "–" if value is None else f"{value:.2f}×"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def row_line(result: Result) -> str:
    """What a row gave, in one line, when it is done: a run that ends early has told so much."""
    mark = "!" if result.timing.disturbed else ""
    best = result.best_peer or "no peer"
    times = [f"{name} {ms(result.timing.median(name))}" for name in result.names]
    return f"{result.row.name}{mark}: {ratio(result.lead(OURS))} {best}; ms: {', '.join(times)}"


def notes(results: Sequence[Result], precision: Precision, peak: float) -> list[str]:
    """What the columns mean, who is absent and why, and the sum of it."""
    lines = [
        f"{OURS}: the launcher called directly; {COMPILE}: the whole torch.compile call",
        "vs best: how many times as fast as the fastest peer of a round, the median of the rounds",
        f"GFLOP/s: of visible pairs alone; torch.matmul's best in {precision.name} here: "
        f"{peak / 1e9:.0f}",
        f"{READ}: only reading keys and values; of read: our speed as a part of that",
    ]
    lines += [
        f"{result.row.name}: no {name}: {reason}"
        for result in results
        for name, reason in result.absent.items()
    ]
    lines += [
        f"{result.row.name}: {name} is {result.errors[name]:.2g} from float64, as its source is"
        for result in results
        for name in result.names
        if result.errors.get(name, 0.0) >= precision.largest_error
    ]
    if any(result.timing.disturbed for result in results):
        lines.append("! the machine stayed busy: spoiled rounds are in the medians, do not quote")
    means = [f"{name} {ratio(mean_lead(results, name))}" for name in (OURS, COMPILE)]
    wanted = f"; wanted {ratio(precision.wanted_mean)}" if precision.wanted_mean else ""
    lines.append(f"geometric mean against the best peer: {', '.join(means)}{wanted}")
    short = [f"{result.row.name} {ratio(result.lead(OURS))}" for result in below(results)]
    lines.append(f"rows under {precision.wanted_lead:g}: {', '.join(short) or 'none'}")
    return lines
