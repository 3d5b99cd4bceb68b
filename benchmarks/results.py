"""What was measured for a row of the attention benchmark, and for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from benchmarks.contestants import COMPILE, OURS, READ
from benchmarks.peers.table import PEERS
from benchmarks.rounds import Timing
from benchmarks.rows import Row


@dataclass(frozen=True)
class Result:
    """One row.

    flops   of the visible pairs
    errors  largest difference from float64 of every contestant that ran
    absent  why the others were not timed
    """

    row: Row
    flops: int
    timing: Timing
    errors: dict[str, float]
    absent: dict[str, str]

    @property
    def names(self) -> list[str]:
        """The contestants that were timed."""
        return list(self.timing.seconds)

    @property
    def best_peer(self) -> str | None:
        """The peer with the shortest median time, if any was timed."""
        peers = [name for name in PEERS if name in self.names]
        return min(peers, key=self.timing.median, default=None)

    def lead(self, name: str) -> float | None:
        """How many times as fast a contestant of ours is as the fastest peer of each round."""
        peers = [peer for peer in PEERS if peer in self.names]
        return self.timing.lead(name, peers) if peers and name in self.names else None

    @property
    def rate(self) -> float | None:
        """Our launcher's FLOP/s."""
        return self.flops / self.timing.median(OURS) if OURS in self.names else None

    @property
    def of_read_speed(self) -> float | None:
        """How fast our launcher reads keys and values: 0.5 for half the speed of only reading."""
        timed = OURS in self.names and READ in self.names
        return self.timing.ratio(OURS, READ) if timed else None

    def as_dict(self, peak: float) -> dict[str, object]:
        """The result as JSON holds it: milliseconds, ratios to ours, GFLOP/s."""
        timing = self.timing
        ours = OURS in self.names
        return {
            "row": self.row.name,
            "source": self.row.source,
            "shape": self.row.shape,
            "ms": {name: timing.median(name) * 1e3 for name in self.names},
            "ratio": {name: timing.ratio(OURS, name) for name in self.names} if ours else {},
            "best_peer": self.best_peer,
            "lead": self.lead(OURS),
            "compile_lead": self.lead(COMPILE),
            "gflops": self.rate and self.rate / 1e9,
            "of_matmul_peak": self.rate and self.rate / peak,
            "of_read_speed": self.of_read_speed,
            "errors": self.errors,
            "absent": self.absent,
            "rounds": max((len(times) for times in timing.seconds.values()), default=0),
            "spoiled_rounds": timing.spoiled,
            "disturbed": timing.disturbed,
        }


def mean_lead(results: Sequence[Result], name: str) -> float | None:
    """The geometric mean of the leads over the rows that have one."""
    leads = [lead for result in results if (lead := result.lead(name)) is not None]
    return geometric_mean(leads) if leads else None


def below(results: Sequence[Result]) -> list[Result]:
    """The rows whose lead is too small, and those that we do not run at all."""
    return [result for result in results if _is_below(result)]


def _is_below(result: Result) -> bool:
    lead = result.lead(OURS)
    return OURS not in result.names if lead is None else lead < result.row.precision.wanted_lead
