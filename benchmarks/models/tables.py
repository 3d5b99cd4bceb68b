"""The tables of the models: one for each case, then all of them side by side, and what to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from rich.table import Table

from benchmarks.attention_table import ms, ratio
from benchmarks.models.apart import Memory
from benchmarks.models.contestants import Start
from benchmarks.models.peers import OURS, PEERS
from benchmarks.models.results import Result, mean_lead, missing


def case_table(result: Result) -> Table:
    """A line a contestant: median, quartiles, how many times our time it takes."""
    table = Table(title=_title(result), title_justify="left")
    ours = [name for name in OURS if name in result.names]
    table.add_column("")
    for column in ("median, ms", "quartiles", *(f"÷ {name}" for name in ours), "of the floor"):
        table.add_column(column, justify="right")
    for name in result.names:
        low, high = result.timing.quartiles(name)
        table.add_row(
            name,
            ms(result.timing.median(name)),
            f"{ms(low)} – {ms(high)}",
            *(f"{result.ratio(own, name):.2f}" for own in ours),
            _percent(result.of_floor(name)),
            style="bold" if name in ours else "green" if name == result.best_peer else "",
        )
    return table


def _title(result: Result) -> str:
    control = f"; same ÷ same {result.control:.2f}" if result.control else ""
    rounds = max(map(len, result.timing.seconds.values()))
    spoiled = f", {result.timing.spoiled} spoiled" if result.timing.spoiled else ""
    return f"{_name(result)}: {rounds} rounds{spoiled}{control}"


def _name(result: Result) -> str:
    """The case, and whether the machine stayed busy."""
    return f"{result.name}{' !' if result.timing.disturbed else ''}"


def overview(results: Sequence[Result], title: str) -> Table:
    """A line a case: all medians, the best peer over ours."""
    names = [name for name in (*PEERS, *OURS) if any(name in each.names for each in results)]
    ours = [name for name in OURS if name in names]
    table = Table(title=title, padding=(0, 0))
    table.add_column("median, ms")
    for column in (*names, "best peer", *(f"÷ {name}" for name in ours), "of the\nfloor"):
        table.add_column(column.replace(" ", "\n"), justify="right")
    table.add_column("same ÷\nsame", justify="right")
    for result in results:
        table.add_row(
            _name(result),
            *(_median(result, name) for name in names),
            result.best_peer or "–",
            *(ratio(result.lead(name)) for name in ours),
            _percent(_best_of_floor(result, ours)),
            f"{result.control:.2f}" if result.control else "–",
        )
    return table


def _median(result: Result, name: str) -> str:
    return ms(result.timing.median(name)) if name in result.names else "–"


def _best_of_floor(result: Result, ours: Sequence[str]) -> float | None:
    """How near the fastest one of ours comes to the floor."""
    parts = (result.of_floor(name) for name in ours if name in result.names)
    return max((part for part in parts if part is not None), default=None)


def _percent(part: float | None) -> str:
    return "–" if part is None else f"{part:.0%}"


def starts_table(starts: Mapping[str, Mapping[str, Start]]) -> Table:
    """Seconds to the first result, and memory that it took, by model and contestant."""
    title = "to the first result: s, and MB that the process has grown by"
    return _by_model(title, starts, lambda each: f"{each.seconds:.1f}, {each.memory / 1e6:.0f}")


def memory_table(memory: Mapping[str, Mapping[str, Memory]]) -> Table:
    """Peaks of memory, by model and contestant."""
    title = "MB at the peak: of all with what is compiled, of calls after the first"
    return _by_model(title, memory, lambda each: f"{each.whole / 1e6:.0f}, {each.calls / 1e6:.0f}")


T = TypeVar("T")


def _by_model(title: str, of: Mapping[str, Mapping[str, T]], cell: Callable[[T], str]) -> Table:
    names = [name for name in (*PEERS, *OURS) if any(name in each for each in of.values())]
    table = Table(title=title)
    table.add_column("")
    for name in names:
        table.add_column(name.replace(" ", "\n"), justify="right")
    for model, found in of.items():
        table.add_row(model, *(cell(found[name]) if name in found else "–" for name in names))
    return table


def notes(results: Sequence[Result]) -> list[str]:
    """What the columns mean, who is missing and why, the means."""
    lines = [
        "÷: the best peer's median time over ours, above 1 we are faster; floor: what the linear "
        "layers take at the FMA peak or at a plain read of their weights, whatever is more"
    ]
    for name, reasons in missing(results).items():
        for reason, cases in reasons.items():
            everywhere = len(cases) == len(results)
            lines.append(f"no {name}{'' if everywhere else ' in ' + ', '.join(cases)}: {reason}")
    if any(result.timing.disturbed for result in results):
        lines.append("! the machine stayed busy: spoiled rounds are in the medians, do not quote")
    outside = [result.name for result in results if not result.in_mean]
    means = [f"{name} {ratio(mean_lead(results, name))}" for name in OURS if _timed(results, name)]
    without = f" (without {', '.join(outside)})" if outside else ""
    lines.append(f"geometric mean of best peer ÷ ours{without}: {', '.join(means) or 'none'}")
    return lines


def _timed(results: Sequence[Result], name: str) -> bool:
    return any(name in result.names for result in results)
