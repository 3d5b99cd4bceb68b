"""Tests of ``snipjit/runtime/kernel_cache.py``."""

from __future__ import annotations

import threading
import time

import pytest

from snipjit.runtime.kernel import Kernel
from snipjit.runtime.kernel_cache import KernelCache, launcher_of
from tests.runtime.workers import scale_add, scale_add_structure


def test_a_key_is_compiled_once_by_many_threads() -> None:
    cache: KernelCache[Kernel] = KernelCache()
    compiled: list[Kernel] = []

    def compile() -> Kernel:
        time.sleep(0.02)
        compiled.append(scale_add())
        return compiled[-1]

    found: list[Kernel] = []
    threads = [
        threading.Thread(target=lambda: found.append(cache.get("key", compile))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(compiled) == 1
    assert found == compiled * 8
    assert cache.kernels() == compiled


def test_a_failure_is_not_remembered() -> None:
    cache: KernelCache[Kernel] = KernelCache()

    def fail() -> Kernel:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get("key", fail)
    assert cache.get("key", scale_add) is scale_add()
    assert len(cache) == 1
    cache.clear()
    assert len(cache) == 0


def test_one_launcher_a_kernel() -> None:
    assert launcher_of(scale_add_structure()) is launcher_of(scale_add_structure())
    assert launcher_of(scale_add_structure()) is not launcher_of(scale_add_structure((1, 0, 2)))
