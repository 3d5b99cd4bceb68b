"""KernelCache: every structure is compiled once in a process, whoever asks and from any thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache

from snipjit.runtime.kernel import Kernel
from snipjit.runtime.launcher import Launcher


class KernelCache:
    """Kernels by key: the printed canonical Subgraph, the target row, the options.

    A fork waits for a compilation under way, so that the child finds the lock free.
    """

    def __init__(self) -> None:
        self._kernels: dict[str, Kernel] = {}
        self._lock = threading.RLock()
        os.register_at_fork(
            before=self._lock.acquire,
            after_in_parent=self._lock.release,
            after_in_child=self._lock.release,
        )

    def get(self, key: str, compile: Callable[[], Kernel]) -> Kernel:
        """The kernel under ``key``; the first to ask compiles it. A failure is not remembered."""
        kernel = self._kernels.get(key)
        if kernel is not None:
            return kernel
        with self._lock:
            kernel = self._kernels.get(key)
            if kernel is None:
                kernel = self._kernels[key] = compile()
            return kernel

    def kernels(self) -> list[Kernel]:
        """Every kernel, in the order of compilation."""
        return list(self._kernels.values())

    def clear(self) -> None:
        """Forget every kernel; those in use live on."""
        with self._lock:
            self._kernels.clear()

    def __len__(self) -> int:
        return len(self._kernels)


KERNELS = KernelCache()
"""The process's kernels."""


@cache
def launcher_of(kernel: Kernel) -> Launcher:
    """The one launcher of a kernel: equal layers share what is known of their shapes."""
    return Launcher(kernel)
