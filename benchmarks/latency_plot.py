"""The demo's plot: milliseconds a text over its length, one smooth line a contestant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.colours import COLOURS, NAMES

Floats = npt.NDArray[np.float64]

WIDTH = 0.25
"""Texts count for a point of the line by how near they are in length: by so much, e times less."""
POINTS = 60
TICKS = (2, 4, 8, 16, 32, 64, 128, 256)


class Curve(NamedTuple):
    """A line and its band over lengths: half of the texts lie within."""

    lengths: Floats
    line: Floats
    low: Floats
    high: Floats


def write_plot(
    path: Path, lengths: Sequence[int], milliseconds: Mapping[str, Sequence[float]], title: str
) -> None:
    """Write a PNG with a line through the medians of each length, and a band for the spread."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    curves = {name: curve(lengths, times) for name, times in milliseconds.items()}
    for name, found in curves.items():
        style: dict[str, Any] = {"linewidth": 3 if name in ("snipjit", "prepared") else 1.8}
        style["linestyle"] = "--" if name == "sdpa" else "-"
        axes.plot(
            found.lengths, found.line, color=COLOURS[name], label=NAMES.get(name, name), **style
        )
        axes.fill_between(
            found.lengths, found.low, found.high, color=COLOURS[name], alpha=0.15, linewidth=0
        )
    _label(axes, curves, title)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _label(axes: Any, curves: Mapping[str, Curve], title: str) -> None:
    first, last = (
        min(c.lengths[0] for c in curves.values()),
        max(c.lengths[-1] for c in curves.values()),
    )
    axes.set_xscale("log")
    axes.set_xlim(first, last)
    ticks = [tick for tick in TICKS if first <= tick <= last]
    axes.set_xticks(ticks, labels=map(str, ticks))
    axes.minorticks_off()
    axes.set_ylim(0, 1.05 * max(c.line[-1] for c in curves.values()))
    axes.set_xlabel("tokens in the text")
    axes.set_ylabel("ms a text: median, and where half of the texts lie")
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def curve(lengths: Sequence[int], times: Sequence[float]) -> Curve:
    """A smooth line through the medians of each length, and the quartiles about it.

    At each point a straight line through the medians near it, in which a disturbed one counts
    little. The band: by how many times texts near the point differ from the line.
    """
    medians = medians_by_length(lengths, times)
    x, y = np.log(np.array(list(medians))), np.log(np.array(list(medians.values())))
    at = np.linspace(x[0], x[-1], POINTS)
    trust = np.ones_like(x)
    for _ in range(3):
        apart = np.abs(y - _local(x, y, x, trust))
        trust = 1 / (1 + (apart / (3 * np.median(apart) + 1e-9)) ** 2)
    texts, factors = np.log(np.array(lengths)), np.log(np.array(times))
    factors = factors - _local(x, y, texts, trust)
    line = _local(x, y, at, trust)
    low, high = (_local_quantile(texts, factors, at, part) for part in (0.25, 0.75))
    return Curve(np.exp(at), np.exp(line), np.exp(line + low), np.exp(line + high))


def _nearness(x: Floats, point: float) -> Floats:
    weights: Floats = np.exp(-(((x - point) / WIDTH) ** 2)) + 1e-9
    return weights


def _local(x: Floats, y: Floats, at: Floats, trust: Floats) -> Floats:
    """The value at some points of straight lines through the values near each."""
    values = []
    for point in at:
        weights = _nearness(x, point) * trust
        apart = x - np.average(x, weights=weights)
        mean, spread = np.average(y, weights=weights), np.average(apart**2, weights=weights)
        slope = np.average(apart * y, weights=weights) / (spread + 1e-3)
        values.append(mean + slope * (point - np.average(x, weights=weights)))
    return np.array(values)


def _local_quantile(x: Floats, y: Floats, at: Floats, part: float) -> Floats:
    """The value that a part of those near each point stays below."""
    order = np.argsort(y)
    values = []
    for point in at:
        weights = _nearness(x[order], point)
        below = np.cumsum(weights) - weights / 2
        values.append(np.interp(part * weights.sum(), below, y[order]))
    return np.array(values)


def medians_by_length(lengths: Sequence[int], times: Sequence[float]) -> dict[int, float]:
    """Median time of each length, shortest first."""
    by_length: dict[int, list[float]] = {}
    for length, time in zip(lengths, times, strict=True):
        by_length.setdefault(length, []).append(time)
    return {length: median(by_length[length]) for length in sorted(by_length)}
