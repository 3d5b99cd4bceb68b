"""The picture of the models: a line each, every contestant a mark at its time over ours.

Where the best peer stands right of one we are faster, and the bar from one to it is green.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.attention_table import ratio
from benchmarks.linear import PREPARED, SNIPJIT
from benchmarks.models.peers import PEERS, WITH_INDUCTOR
from benchmarks.models.results import Result, mean_lead

FASTER, SLOWER = "#2e7d32", "#c62828"
MARKS = {
    "eager": ("o", "#9e9e9e"),
    "sdpa": ("s", "#616161"),
    "inductor": ("^", "#ef6c00"),
    "frozen": ("v", "#ffb300"),
    "static": ("<", "#8d6e63"),
    "openvino": ("D", "#6a1b9a"),
    "onnxruntime": ("P", "#0277bd"),
    SNIPJIT: ("*", "#00897b"),
    WITH_INDUCTOR: ("X", "#00695c"),
}
"""Shape and colour of a contestant's mark."""
NAMES = {SNIPJIT: "snipjit, weights in place", WITH_INDUCTOR: "snipjit, rest by Inductor"}
MOST = 4.0
"""Who takes so many times as long or longer is drawn at the edge."""


def write_plot(path: Path, results: Sequence[Result], title: str) -> None:
    """Write a PNG: times over ours with prepared weights."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [result for result in results if PREPARED in result.names]
    figure, axes = pyplot.subplots(figsize=(10, 2.4 + 0.42 * len(shown)))
    low = 0.92 * min([0.9, *(_x(result, name) for result in shown for name in result.names)])
    axes.set_xscale("log")
    axes.set_xlim(low, 1.25 * MOST)
    axes.axvspan(low, 1, color=SLOWER, alpha=0.06, linewidth=0)
    axes.axvspan(1, 1.25 * MOST, color=FASTER, alpha=0.06, linewidth=0)
    axes.axvline(1, color="black", linewidth=1.5)
    for place, result in enumerate(shown):
        _draw_case(axes, place, result)
    _label(axes, shown, title)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _x(result: Result, name: str) -> float:
    return min(MOST, result.ratio(PREPARED, name))


def _draw_case(axes: Any, place: int, result: Result) -> None:
    """A bar from us to the best peer with its number, and the marks of all."""
    lead, best = result.lead(PREPARED), result.best_peer
    if lead is not None and best is not None:
        colour = FASTER if lead >= 1 else SLOWER
        axes.plot([1, _x(result, best)], [place] * 2, color=colour, linewidth=7, alpha=0.45)
        text = {"color": colour, "fontweight": "bold", "va": "center", "fontsize": "small"}
        axes.text(
            1.02, place, f"{ratio(lead)} {best}", transform=axes.get_yaxis_transform(), **text
        )
    for name, (marker, colour) in MARKS.items():
        if name in result.names:
            size = 90 if marker == "*" else 42
            style = {"marker": marker, "color": colour, "s": size, "zorder": 3}
            axes.scatter(_x(result, name), place, edgecolors="white", linewidths=0.6, **style)


def _label(axes: Any, shown: Sequence[Result], title: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import NullFormatter

    axes.set_yticks(range(len(shown)), labels=[result.name for result in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    ticks = (0.5, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, MOST)
    kept = [tick for tick in ticks if tick >= axes.get_xlim()[0]]
    labels = [f"{tick:g}×" + (" or more" if tick == MOST else "") for tick in kept]
    axes.set_xticks(kept, labels=labels)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(
        "◀ theirs is faster        their time ÷ snipjit's (weights prepared)        we are faster ▶"
    )
    mean = mean_lead(shown, PREPARED)
    axes.set_title(
        f"Best peer against snipjit: {ratio(mean)} on average\n{title}", fontsize="medium"
    )
    timed = [
        name for name in (*PEERS, SNIPJIT, WITH_INDUCTOR) if any(name in r.names for r in shown)
    ]
    handles = [
        Line2D(
            [],
            [],
            marker=MARKS[name][0],
            color=MARKS[name][1],
            linestyle="",
            label=NAMES.get(name, name),
        )
        for name in timed
    ]
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.75 / (0.42 * len(shown) + 0.8)),
        ncols=5,
        fontsize="small",
        frameon=False,
    )
