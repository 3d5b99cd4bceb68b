"""The picture of the models: a line each, every contestant a mark at its time over ours.

Where the best peer stands right of one we are faster, and the bar from one to it is green.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.attention_table import ratio
from benchmarks.colours import COLOURS, NAMES
from benchmarks.linear import PREPARED, SNIPJIT
from benchmarks.models.peers import PROGRAM, WITH_INDUCTOR, ZENTORCH
from benchmarks.models.results import Result, mean_lead

FASTER, SLOWER = "#2e7d32", "#c62828"
MARKS = {
    "eager": "o",
    "sdpa": "s",
    "inductor": "^",
    "frozen": "v",
    "static": "<",
    "openvino": "D",
    "onnxruntime": "P",
    ZENTORCH: "p",
    SNIPJIT: "*",
    PROGRAM: "h",
    WITH_INDUCTOR: "X",
}
BAR: dict[str, Any] = {"linewidth": 7, "alpha": 0.45, "solid_capstyle": "butt"}
MOST = 4.0
"""Who takes so many times as long or longer is drawn at the edge."""


def write_plot(path: Path, results: Sequence[Result], title: str) -> None:
    """Write a PNG: times over ours with prepared weights."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [result for result in results if PREPARED in result.names]
    size = (10, 2.3 + 0.4 * len(shown))
    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    _scale(axes, shown)
    for place, result in enumerate(shown):
        _draw_case(axes, place, result)
    mean = f"geometric mean {ratio(mean_lead(shown, PREPARED))}"
    axes.set_title(
        f"The best peer's time over snipjit's (bars): {mean}\n{title}", fontsize="medium"
    )
    figure.legend(handles=_legend(shown), loc="outside lower center", ncols=5, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _scale(axes: Any, shown: Sequence[Result]) -> None:
    """The two axes, and whose side is whose."""
    low, high = 0.93 * min([0.8, *(_x(case, name) for case in shown for name in case.names)]), 4.3
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.axvspan(low, 1, color=SLOWER, alpha=0.06, linewidth=0)
    axes.axvspan(1, high, color=FASTER, alpha=0.06, linewidth=0)
    axes.axvline(1, color="black", linewidth=1.5)
    ticks = [tick for tick in (0.25, 0.5, 0.7, 1, 1.5, 2, 3, MOST) if tick >= low]
    axes.set_xticks(ticks, labels=[f"{tick:g}×" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(
        f"◀ they are faster      their time ÷ ours (weights prepared), up to {MOST:g}×      "
        "we are faster ▶"
    )
    names = [f"{case.name}{' !' if case.timing.disturbed else ''}" for case in shown]
    axes.set_yticks(range(len(shown)), labels=names)
    axes.set_ylim(len(shown) - 0.4, -0.6)


def _x(result: Result, name: str) -> float:
    return min(MOST, result.ratio(PREPARED, name))


def _draw_case(axes: Any, place: int, result: Result) -> None:
    """A bar from us to the best peer with its number, and the marks of all."""
    lead, best = result.lead(PREPARED), result.best_peer
    if lead is not None and best is not None:
        colour = FASTER if lead >= 1 else SLOWER
        axes.plot([1, _x(result, best)], [place] * 2, color=colour, **BAR)
        text = {"color": colour, "fontweight": "bold", "va": "center", "fontsize": "small"}
        right = axes.get_yaxis_transform()
        axes.text(1.02, place, f"{ratio(lead)} {best}", transform=right, **text)
    for name in _marked([result]):
        marker = MARKS[name]
        style = {"marker": marker, "color": COLOURS[name], "s": 100 if marker == "*" else 44}
        axes.scatter(_x(result, name), place, edgecolors="white", linewidths=0.6, zorder=3, **style)


def _marked(shown: Sequence[Result]) -> list[str]:
    """Who has a mark: all that were timed in some case, but the one that is 1."""
    return [name for name in MARKS if any(name in result.names for result in shown)]


def _legend(shown: Sequence[Result]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            linestyle="",
            marker=MARKS[name],
            color=COLOURS[name],
            label=NAMES.get(name, name),
            markersize=9 if MARKS[name] == "*" else 7,
        )
        for name in _marked(shown)
    ]
