"""The machine: what it can do at most, and whether something else is using it right now."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch

from snipjit.version import __version__

SLOWDOWN = 1.2
"""A round counts as spoiled where the calibration loop took this much longer than its best."""

SWITCHES = 40.0
"""... or where threads lost their core more often than this, a second."""


def calibrate(size: int = 192, calls: int = 12) -> float:
    """Seconds of a fixed piece of work on all threads (matmuls within the first-level caches)."""
    a = torch.full((size, size), 0.5)
    out = torch.empty(size, size)
    torch.mm(a, a, out=out)
    start = perf_counter()
    for _ in range(calls):
        torch.mm(a, a, out=out)
    return perf_counter() - start


def matmul_peak(sizes: Sequence[int] = (512, 1024, 2048), rounds: int = 10) -> float:
    """Best FLOP/s of ``torch.matmul`` on square f32 matrices: a proxy of what the FMA units reach.

    It is a lower bound: where torch's matmul is poor on a CPU, a kernel may exceed it.
    """
    rates = []
    for size in sizes:
        a, b, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
        for _ in range(rounds):
            start = perf_counter()
            torch.mm(a, b, out=out)
            rates.append(2 * size**3 / (perf_counter() - start))
    return max(rates)


@dataclass
class Watch:
    """Tells rounds that others have disturbed from those that ran alone.

    Two signs: the calibration loop beside the round was slower than it has been at best, or the
    kernel took the core away from our threads (involuntary context switches).
    """

    best: float

    @staticmethod
    def start() -> Watch:
        """A watch that knows how fast the calibration loop is when nothing disturbs it."""
        return Watch(min(calibrate() for _ in range(20)))

    def begin(self) -> tuple[float, int]:
        """Note the state before a round."""
        return perf_counter(), _involuntary_switches()

    def spoiled(self, state: tuple[float, int]) -> bool:
        """Whether the round that began at ``state`` and ends now was disturbed."""
        start, switches = state
        rate = (_involuntary_switches() - switches) / (perf_counter() - start)
        now = median(calibrate() for _ in range(3))
        self.best = min(self.best, now)
        return rate > SWITCHES or now > SLOWDOWN * self.best


def _involuntary_switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


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
