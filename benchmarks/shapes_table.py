"""What was measured of random shapes: a shape, its ratios, the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean, median
from typing import NamedTuple

from rich.table import Table

from benchmarks.linear import EAGER, OURS, PREPARED, SNIPJIT
from benchmarks.rounds import Timing

AROUND = "torch.compile"
"""The compiled module without the launcher."""


class Shape(NamedTuple):
    """[rows, inputs] times the transposed [outputs, inputs]."""

    rows: int
    inputs: int
    outputs: int

    @property
    def weights(self) -> int:
        """Elements of the weight."""
        return self.inputs * self.outputs

    @property
    def is_even(self) -> bool:
        """Whether the weight has multiples of 32."""
        return self.inputs % 32 == self.outputs % 32 == 0


@dataclass
class Found:
    """A shape; ``timings`` holds more than one where it was measured again."""

    shape: Shape
    by_nodes: dict[str, bool]
    timings: list[Timing]

    def ratio(self, name: str) -> float:
        """How many times as fast as ``F.linear``, as measured first."""
        return _ratio(self.timings[0], name)

    def best(self, name: str) -> float:
        """The same, the best of all times that it was measured."""
        return max(_ratio(timing, name) for timing in self.timings)

    @property
    def least(self) -> float:
        """The worse one of ours."""
        return min(map(self.ratio, OURS))

    @property
    def microseconds(self) -> dict[str, float]:
        """The shortest calls."""
        return {name: min(times) * 1e6 for name, times in self.timings[0].seconds.items()}

    @property
    def through_compile(self) -> float:
        """The ratio in place, with what torch.compile adds to a call."""
        us = self.microseconds
        return us[EAGER] / (us[SNIPJIT] + us[AROUND])

    def as_dict(self) -> dict[str, object]:
        """The shape as JSON holds it."""
        return {
            **self.shape._asdict(),
            "us": self.microseconds,
            "ratio": {name: self.ratio(name) for name in OURS},
            "best": {name: self.best(name) for name in OURS},
            "through_compile": self.through_compile,
            "by_nodes": self.by_nodes,
            "disturbed": self.timings[0].disturbed,
        }


def _ratio(timing: Timing, name: str) -> float:
    return min(timing.seconds[EAGER]) / min(timing.seconds[name])


GROUPS: dict[str, Callable[[Shape], bool]] = {
    "all": lambda shape: True,
    "1 to 7 rows": lambda shape: shape.rows < 8,
    "8 to 63": lambda shape: 8 <= shape.rows < 64,
    "64 and more": lambda shape: shape.rows >= 64,
    "K and N multiples of 32": lambda shape: shape.is_even,
    "K and N as drawn": lambda shape: not shape.is_even,
}


def summary(found: Sequence[Found], seed: int) -> Table:
    """Geometric means of the ratios."""
    disturbed = sum(each.timings[0].disturbed for each in found)
    title = f"{len(found)} shapes, seed {seed}, weights cold: F.linear ÷ ours, geometric means"
    counts = ", ".join(f"{name} {sum(each.by_nodes[name] for each in found)}" for name in OURS)
    table = Table(title=title, caption=f"by PyTorch's own nodes: {counts}. Disturbed: {disturbed}")
    table.add_column("shapes")
    for column in ("", *OURS, "least", f"{PREPARED}, least", f"{SNIPJIT} in {AROUND}"):
        table.add_column(column, justify="right")
    table.add_column(f"{AROUND} adds, µs", justify="right")
    for name, belongs in GROUPS.items():
        if group := [each for each in found if belongs(each.shape)]:
            table.add_row(name, *_line(group))
    return table


def _line(group: Sequence[Found]) -> list[str]:
    means = [geometric_mean([each.ratio(name) for each in group]) for name in OURS]
    least = [min(each.ratio(name) for each in group) for name in OURS]
    through = geometric_mean([each.through_compile for each in group])
    added = median([each.microseconds[AROUND] for each in group])
    numbers = [f"{number:.2f}" for number in (*means, *least, through)]
    return [str(len(group)), *numbers, f"{added:.1f}"]


def worst_table(worst: Sequence[Found]) -> Table:
    """The worst shapes with the best ratio that each had."""
    table = Table(title="the worst ones: the best of all times that they were measured")
    names = ("F.linear", *OURS, AROUND)
    for column in ("M", "K", "N", *(f"{name}, µs" for name in names)):
        table.add_column(column, justify="right")
    for name in OURS:
        table.add_column(f"÷ {name}, first", justify="right")
        table.add_column("best", justify="right")
    for each in worst:
        us = each.microseconds
        times = [f"{us[name]:.1f}" for name in (EAGER, *OURS, AROUND)]
        ratios = [f"{ratio:.2f}" for name in OURS for ratio in (each.ratio(name), each.best(name))]
        table.add_row(*map(str, each.shape), *times, *ratios)
    return table
