"""Tests of ``snipjit/runtime/threads.py``."""

from __future__ import annotations

import ctypes

import numpy as np
import torch

from snipjit.runtime.engine import compile_object, load
from snipjit.runtime.threads import (
    ENTRY_SLOT,
    THREADS_SLOT,
    is_forked,
    native,
    run_many,
    thread_count,
)
from snipjit.target.target_machine import PORTABLE
from tests.guard import survives

COUNT = """
define void @kernel(ptr %args) {
  %old = atomicrmw add ptr %args, i64 1 monotonic
  ret void
}
"""


def test_parallel_runs_the_worker_once_a_thread() -> None:
    loaded = load(compile_object(COUNT, PORTABLE), "kernel")
    run = run_many()
    assert run is not None
    for threads in (1, 2, 3):
        slots = np.zeros(8, np.int64)
        slots[ENTRY_SLOT], slots[THREADS_SLOT] = loaded.address, threads
        run(slots.ctypes.data)
        assert slots[0] == threads


def test_native_calls_with_an_address() -> None:
    loaded = load(compile_object(COUNT, PORTABLE), "kernel")
    slot = ctypes.c_int64(41)
    native(loaded.address)(ctypes.addressof(slot))
    assert slot.value == 42


def test_the_pool_is_torchs() -> None:
    assert run_many() is run_many()
    assert thread_count() == torch.get_num_threads()
    assert not is_forked()


def test_one_thread_in_a_forked_child() -> None:
    def child() -> None:
        assert is_forked()
        assert thread_count() == 1

    assert survives(child)
