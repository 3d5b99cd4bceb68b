"""The picture of the linear benchmark: time over the floor by rows, one line a contestant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_plot(path: Path, over_floor: Mapping[str, Mapping[int, float]], title: str) -> None:
    """Write a PNG. ``over_floor`` has times of the floor, by contestant and rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, points in over_floor.items():
        rows = sorted(points)
        axes.plot(rows, [points[number] for number in rows], marker="o", label=name)
    ticks = sorted({number for points in over_floor.values() for number in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, labels=map(str, ticks))
    axes.minorticks_off()
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("rows")
    axes.set_ylabel("time ÷ floor")
    axes.set_title(title, fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
