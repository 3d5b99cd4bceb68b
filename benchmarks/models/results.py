"""What was measured of a case, and the means over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from benchmarks.models.peers import CONTROL, EAGER, OURS, PEERS
from benchmarks.rounds import Timing


@dataclass(frozen=True)
class Result:
    """One case.

    floor    seconds that its linear layers take at least; None where it has none
    errors   largest difference from eager, as a part of the range of its results
    absent   why the others were not timed
    in_mean  whether it counts in the geometric means
    """

    name: str
    floor: float | None
    timing: Timing
    errors: Mapping[str, float]
    absent: Mapping[str, str]
    in_mean: bool = True

    @property
    def names(self) -> list[str]:
        """The contestants that were timed, in the order of the tables; the control is not one."""
        return [name for name in (*PEERS, *OURS) if name in self.timing.seconds]

    @property
    def best_peer(self) -> str | None:
        """The peer with the shortest median time, if any was timed."""
        peers = [name for name in self.names if name in PEERS]
        return min(peers, key=self.timing.median, default=None)

    def ratio(self, ours: str, other: str) -> float:
        """Their median time over ours: above 1 we are faster."""
        return self.timing.median(other) / self.timing.median(ours)

    def lead(self, ours: str) -> float | None:
        """The ratio to the best peer."""
        best = self.best_peer
        return self.ratio(ours, best) if best and ours in self.names else None

    def of_floor(self, name: str) -> float | None:
        """The floor as a part of a contestant's time: 1 is as fast as can be."""
        return self.floor / self.timing.median(name) if self.floor else None

    @property
    def control(self) -> float | None:
        """Eager against itself in the same rounds: what is noise."""
        timed = {EAGER, CONTROL} <= set(self.timing.seconds)
        return self.ratio(CONTROL, EAGER) if timed else None

    def as_dict(self) -> dict[str, object]:
        """The case as JSON holds it."""
        timing, ours = self.timing, [name for name in OURS if name in self.names]
        return {
            "model": self.name,
            "in_mean": self.in_mean,
            "floor_ms": self.floor and self.floor * 1e3,
            "ms": {name: timing.median(name) * 1e3 for name in self.names},
            "quartiles_ms": {
                name: [seconds * 1e3 for seconds in timing.quartiles(name)] for name in self.names
            },
            "ratio": {own: {name: self.ratio(own, name) for name in self.names} for own in ours},
            "best_peer": self.best_peer,
            "lead": {own: self.lead(own) for own in ours},
            "of_floor": {name: self.of_floor(name) for name in self.names},
            "control": self.control,
            "errors": dict(self.errors),
            "absent": dict(self.absent),
            "rounds": max(map(len, timing.seconds.values()), default=0),
            "spoiled_rounds": timing.spoiled,
            "disturbed": timing.disturbed,
        }


def mean_lead(results: Sequence[Result], ours: str) -> float | None:
    """The geometric mean of best peer over ours."""
    counted = (result.lead(ours) for result in results if result.in_mean)
    leads = [lead for lead in counted if lead is not None]
    return geometric_mean(leads) if leads else None


def missing(results: Sequence[Result]) -> dict[str, dict[str, list[str]]]:
    """Who was not timed: reasons by contestant, with the cases of each."""
    found: dict[str, dict[str, list[str]]] = {}
    for result in results:
        for name, reason in result.absent.items():
            found.setdefault(name, {}).setdefault(reason, []).append(result.name)
    return found
