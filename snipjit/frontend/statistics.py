"""Counters of what the process has tokenized, compiled and called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from snipjit.refusal import Refusal
from snipjit.runtime.kernel_cache import KERNELS, launchers


@dataclass(frozen=True)
class Stats:
    """What happened since the process began or ``reset_stats`` was called.

    subgraphs         candidates replaced by a kernel
    kernels_compiled  kernels made: one for each structure, or for each of its schedules
    kernels_loaded    kernels that the disk cache held ready, which were not compiled
    kernel_calls      calls of kernels
    configurations    calls whose shapes and strides were new to their kernel
    refusals          candidates that stayed as they were
    patterns          subgraphs by the pattern that found them: ``{"attention": 12}``
    """

    subgraphs: int
    kernels_compiled: int
    kernels_loaded: int
    kernel_calls: int
    configurations: int
    refusals: tuple[Refusal, ...]
    patterns: Mapping[str, int] = field(default_factory=dict)

    @property
    def kernels(self) -> int:
        """Kernels made ready, wherever they came from."""
        return self.kernels_compiled + self.kernels_loaded


@dataclass
class _Log:
    """What the backend reports, and the totals at the last reset."""

    patterns: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    base: tuple[int, ...] = (0, 0, 0, 0)


_log = _Log()


def record_subgraph(pattern: str) -> None:
    """A candidate that a pattern found was replaced by a kernel."""
    _log.patterns[pattern] += 1


def record_refusal(refusal: Refusal) -> None:
    """A candidate stayed as it was."""
    _log.refusals.append(refusal)


def _totals() -> tuple[int, ...]:
    calls = sum(launcher.calls for launcher in launchers())
    compiled = sum(kernel.compiled for kernel in KERNELS.kernels())
    configurations = sum(launcher.configurations for launcher in launchers())
    return compiled, len(KERNELS) - compiled, calls, configurations


def stats() -> Stats:
    """The counters now."""
    compiled, loaded, calls, configurations = (
        now - then for now, then in zip(_totals(), _log.base, strict=True)
    )
    found, refusals = dict(_log.patterns), tuple(_log.refusals)
    total = sum(found.values())
    return Stats(total, compiled, loaded, calls, configurations, refusals, found)


def reset_stats() -> None:
    """Count from zero; compiled kernels stay."""
    _log.patterns, _log.refusals, _log.base = Counter(), [], _totals()
