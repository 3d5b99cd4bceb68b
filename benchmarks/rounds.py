"""Interleaved rounds: every contestant in every round, medians of the rounds nobody disturbed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from random import Random
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from benchmarks.machine import Watch

Call = Callable[[], Any]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Elsewhere:
    """A call in another process: what it returns, or the seconds that it took there."""

    result: Callable[[], Any]
    seconds: Callable[[], float]

    def __call__(self) -> Any:
        """Ask for what it returns."""
        return self.result()


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    rounds   undisturbed rounds that are wanted
    patience how often a spoiled round is repeated, as a multiple of ``rounds``
    slice    seconds that one contestant runs in one round, at least one call
    seconds  time after which fewer rounds must do, but never fewer than ``least``
    """

    rounds: int = 15
    patience: int = 3
    slice: float = 0.03
    seconds: float = 45.0
    least: int = 5


@dataclass
class Timing:
    """Seconds of a contestant's shortest call in each round.

    ``spoiled`` rounds were repeated and left out.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    spoiled: int = 0
    disturbed: bool = False
    """Patience ran out: the times are those of spoiled rounds, too."""

    def median(self, name: str) -> float:
        """Median seconds of a call."""
        return median(self.seconds[name])

    def quartiles(self, name: str) -> tuple[float, float]:
        """Seconds that a quarter of the calls stays below, and a quarter above."""
        seconds = self.seconds[name]
        if len(seconds) == 1:
            return seconds[0], seconds[0]
        lower, _, upper = quantiles(seconds, n=4, method="inclusive")
        return lower, upper

    def ratio(self, name: str, other: str) -> float:
        """How many times as fast ``name`` is as ``other``: the median of the rounds' ratios."""
        return self.lead(name, [other])

    def lead(self, name: str, others: Sequence[str]) -> float:
        """The same against whoever of the others was the fastest of each round."""
        rounds = zip(self.seconds[name], *(self.seconds[other] for other in others), strict=True)
        leads: list[float] = [min(theirs) / ours for ours, *theirs in rounds]
        return median(leads)


def measure(
    contestants: Mapping[str, Call], plan: Plan, watch: Watch, progress: Progress = lambda _: None
) -> Timing:
    """Time the contestants in interleaved rounds, repeating those that were disturbed."""
    for call in contestants.values():
        call()
    good: list[dict[str, float]] = []
    bad: list[dict[str, float]] = []
    end = perf_counter() + plan.seconds
    while len(good) < plan.rounds and len(bad) < plan.rounds * plan.patience:
        if perf_counter() > end and len(good) + len(bad) >= min(plan.least, plan.rounds):
            break
        state = watch.begin()
        order = _shuffled(list(contestants), len(good) + len(bad))
        result = {name: _time(contestants[name], plan.slice) for name in order}
        (bad if watch.spoiled(state) else good).append(result)
        progress(f"round {len(good)} of {plan.rounds}, {len(bad)} spoiled")
    disturbed = len(good) < min(plan.least, plan.rounds)
    kept = good + bad if disturbed else good
    seconds = {name: [result[name] for result in kept] for name in contestants}
    return Timing(seconds, len(bad), disturbed)


def _time(call: Call, slice: float) -> float:
    """Seconds of the shortest of the calls that fill a slice of time, one at least.

    The first brings code and data back to the caches.
    """
    shortest, end = inf, perf_counter() + slice
    while True:
        shortest = min(shortest, _seconds(call))
        if perf_counter() >= end:
            return shortest


def _seconds(call: Call) -> float:
    """Seconds of a call, without what it takes to ask another process for it."""
    if isinstance(call, Elsewhere):
        return call.seconds()
    start = perf_counter()
    call()
    return perf_counter() - start


def _shuffled(names: list[str], turn: int) -> list[str]:
    """The names in another order each turn: nobody always runs after the slowest."""
    return Random(turn).sample(names, len(names))
