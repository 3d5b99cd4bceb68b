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
    graphs            graphs compiled: of Dynamo's, and of programs
    recompilations    of these, those of functions that had graphs before: what caused each
    fallbacks         of the calls, those that PyTorch's own operations served, being faster there
    given_up          functions of which Dynamo makes no more graphs: other inputs run in eager
    """

    subgraphs: int
    kernels_compiled: int
    kernels_loaded: int
    kernel_calls: int
    configurations: int
    refusals: tuple[Refusal, ...]
    patterns: Mapping[str, int] = field(default_factory=dict)
    graphs: int = 0
    recompilations: tuple[str, ...] = ()
    fallbacks: int = 0
    given_up: int = 0

    @property
    def kernels(self) -> int:
        """Kernels made ready, wherever they came from."""
        return self.kernels_compiled + self.kernels_loaded

    def __str__(self) -> str:
        found = ", ".join(f"{count} {name}" for name, count in self.patterns.items())
        causes = Counter(self.recompilations)
        gave_up = f"; {self.given_up} function(s) given up by Dynamo" if self.given_up else ""
        lines = (
            f"graphs          {self.graphs}, {len(self.recompilations)} recompiled{gave_up}",
            *(f"{'':16}{times} × {cause}" for cause, times in causes.items()),
            f"subgraphs       {self.subgraphs}{f': {found}' if found else ''}",
            f"refused         {len(self.refusals)}",
            f"kernels         {self.kernels_compiled} compiled, {self.kernels_loaded} from disk",
            f"calls           {self.kernel_calls}, {self.fallbacks} served by PyTorch",
            f"configurations  {self.configurations}",
        )
        return "\n".join(lines)


@dataclass
class _Log:
    """What the backend reports, and the totals at the last reset."""

    patterns: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    graphs: int = 0
    recompilations: list[str] = field(default_factory=list)
    given_up: int = 0
    base: tuple[int, ...] = (0, 0, 0, 0, 0)


_log = _Log()


def record_graph(cause: str | None = None) -> None:
    """A graph was compiled; ``cause`` says why again, if the function had one before."""
    _log.graphs += 1
    if cause is not None:
        _log.recompilations.append(cause)


def record_given_up() -> None:
    """Dynamo makes no more graphs of a function."""
    _log.given_up += 1


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
    fallbacks = sum(launcher.fallbacks for launcher in launchers())
    return compiled, len(KERNELS) - compiled, calls, configurations, fallbacks


def stats() -> Stats:
    """The counters now."""
    compiled, loaded, calls, configurations, fallbacks = (
        now - then for now, then in zip(_totals(), _log.base, strict=True)
    )
    found = dict(_log.patterns)
    return Stats(
        sum(found.values()),
        compiled,
        loaded,
        calls,
        configurations,
        tuple(_log.refusals),
        found,
        _log.graphs,
        tuple(_log.recompilations),
        fallbacks,
        _log.given_up,
    )


def reset_stats() -> None:
    """Count from zero; compiled kernels stay."""
    global _log
    _log = _Log(base=_totals())
