"""The machine: what it can do at most, and whether something else is using it right now."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

import torch

from snipjit.version import __version__

SLOWDOWN = 1.2
"""A round counts as spoiled where the calibration loop took this much longer than its best."""

SHARE = 0.05
"""... or where other processes used more than this part of our CPUs."""


def calibrate(size: int = 192, calls: int = 12) -> float:
    """Seconds of a fixed piece of work on all threads (matmuls within the first-level caches)."""
    a = torch.full((size, size), 0.5)
    out = torch.empty(size, size)
    torch.mm(a, a, out=out)
    start = perf_counter()
    for _ in range(calls):
        torch.mm(a, a, out=out)
    return perf_counter() - start


def matmul_peak(
    dtype: torch.dtype,
    sizes: Sequence[int] = (512, 1024, 2048),
    rounds: int = 10,
    seconds: float = 5.0,
) -> float:
    """Best FLOP/s of ``torch.matmul`` on square matrices: a proxy of what the FMA units reach.

    It is a lower bound: where torch's matmul is poor on a CPU, a kernel may exceed it. After some
    seconds no further round begins: in f16 it can be a hundred times slower than in f32.
    """
    rates = [0.0]
    end = perf_counter() + seconds
    for size in sizes:
        a, b, out = torch.randn(3, size, size).to(dtype).unbind()
        for _ in range(rounds):
            start = perf_counter()
            if start > end:
                return max(rates)
            torch.mm(a, b, out=out)
            rates.append(2 * size**3 / (perf_counter() - start))
    return max(rates)


@dataclass
class Watch:
    """Tells rounds that others have disturbed from those that ran alone.

    Two signs: the calibration loop beside the round was slower than it has been at best, or other
    processes ran on our CPUs. (Our own threads take cores from one another: peers bring pools.)
    """

    best: float

    @staticmethod
    def start() -> Watch:
        """A watch that knows how fast the calibration loop is when nothing disturbs it."""
        return Watch(min(calibrate() for _ in range(20)))

    def begin(self) -> tuple[float, float]:
        """Note the state before a round."""
        return perf_counter(), seconds_of_others()

    def spoiled(self, state: tuple[float, float]) -> bool:
        """Whether the round that began at ``state`` and ends now was disturbed."""
        start, before = state
        elapsed = (perf_counter() - start) * len(os.sched_getaffinity(0))
        share = (seconds_of_others() - before) / elapsed
        now = min(calibrate() for _ in range(5))
        self.best = min(self.best, now)
        return share > SHARE or now > SLOWDOWN * self.best


def seconds_of_others() -> float:
    """CPU seconds that other processes have used so far on the CPUs that this one may use.

    From an unknown beginning: differences count. 0 where the system does not tell.
    """
    if not os.path.exists("/proc/stat"):
        return 0.0
    own = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    with open("/proc/stat", encoding="utf-8") as lines:
        cpus = [line.split() for line in lines if line.split()[0] in own]
    # user, nice, system, then idle and iowait, then irq, softirq, steal
    ticks = sum(int(n) for _, *times in cpus for n in (*times[:3], *times[5:8]))
    return ticks / os.sysconf("SC_CLK_TCK") - process_time()


def description() -> dict[str, object]:
    """Host and versions, for the head of a report."""
    return {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "snipjit": __version__,
    }


def cpu_name() -> str:
    """The CPU's name as Linux tells it, else its architecture."""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
        if names:
            return names[0]
    return platform.machine()
