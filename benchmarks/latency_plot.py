"""The demo's plot: milliseconds a text over its length, one colour a contestant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median


def write_plot(
    path: Path, lengths: Sequence[int], milliseconds: Mapping[str, Sequence[float]]
) -> None:
    """Write a PNG with a point for each text and a line through the medians of each length."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, times in milliseconds.items():
        medians = medians_by_length(lengths, times)
        (line,) = axes.plot(list(medians), list(medians.values()), label=name)
        axes.scatter(lengths, times, s=6, alpha=0.3, color=line.get_color())
    axes.set_xlabel("tokens in the text")
    axes.set_ylabel("ms a text")
    axes.set_ylim(0, 1.2 * _most(milliseconds))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _most(milliseconds: Mapping[str, Sequence[float]]) -> float:
    """A time that 95 % of the texts stay below: a disturbed one must not flatten all others."""
    times = sorted(time for each in milliseconds.values() for time in each)
    return times[int(0.95 * (len(times) - 1))]


def medians_by_length(lengths: Sequence[int], times: Sequence[float]) -> dict[int, float]:
    """Median time of each length, shortest first."""
    by_length: dict[int, list[float]] = {}
    for length, time in zip(lengths, times, strict=True):
        by_length.setdefault(length, []).append(time)
    return {length: median(by_length[length]) for length in sorted(by_length)}
