"""KernelCache: every structure is compiled once in a process, whoever asks and from any thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from snipjit.runtime.host import LOCK
from snipjit.runtime.kernel import Kernel
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.structure import Structure

T = TypeVar("T")


class KernelCache(Generic[T]):
    """Kernels or structures by key: the target row, the schedule, the printed canonical Subgraph.

    A compilation holds ``host.LOCK``, for which a fork waits.
    """

    def __init__(self) -> None:
        self._kernels: dict[str, T] = {}

    def get(self, key: str, compile: Callable[[], T]) -> T:
        """What stands under ``key``; the first to ask compiles it. A failure is not remembered."""
        kernel = self._kernels.get(key)
        if kernel is not None:
            return kernel
        with LOCK:
            kernel = self._kernels.get(key)
            if kernel is None:
                # A signal handler may have compiled the same in the meantime.
                kernel = self._kernels.setdefault(key, compile())
            return kernel

    def find(self, key: str) -> T | None:
        """What stands under ``key``, if anything does."""
        return self._kernels.get(key)

    def kernels(self) -> list[T]:
        """Everything kept, in the order of compilation."""
        return list(self._kernels.values())

    def clear(self) -> None:
        """Forget everything kept; what is in use lives on."""
        with LOCK:
            self._kernels.clear()

    def __len__(self) -> int:
        return len(self._kernels)


KERNELS: KernelCache[Kernel] = KernelCache()
"""The process's kernels."""

STRUCTURES: KernelCache[Structure] = KernelCache()
"""The process's structures, whose kernels are in ``KERNELS`` too."""

_launchers: dict[tuple[Structure, bool], Launcher] = {}


def launcher_of(structure: Structure, nodes: Callable[..., Any] | None = None) -> Launcher:
    """The one launcher of a structure: equal layers share what is known of their shapes.

    With ``nodes`` it is another one, which has those of the first such layer: they mean the same.
    """
    key = structure, nodes is not None
    return _launchers.get(key) or _launchers.setdefault(key, Launcher(structure, nodes=nodes))


def launchers() -> list[Launcher]:
    """Every launcher of the process."""
    return list(_launchers.values())
