"""Threads: kernels run on the OpenMP pool that PyTorch has loaded, so one pool serves both.

libgomp is found among the process's mapped files, never loaded a second time. Without it, and in a
forked child, where libgomp's pool no longer has its threads, a kernel runs on the caller alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from snipjit.ir.call_args import FIXED
from snipjit.runtime.engine import Loaded, compile_object, load
from snipjit.runtime.host import at_fork
from snipjit.target.target_machine import PORTABLE

Call = Callable[[int], None]
"""Calls a native function with one address. The GIL is released meanwhile."""

ENTRY_SLOT, THREADS_SLOT = FIXED.index("entry"), FIXED.index("threads")
"""The CallArgs slots, unused by kernels, that tell whom to start, and how often."""

_RUN_ONE = f"""
define void @run_one(ptr %call_args) {{
  %entry_slot = getelementptr i64, ptr %call_args, i64 {ENTRY_SLOT}
  %entry = load ptr, ptr %entry_slot
  call void %entry(ptr %call_args)
  ret void
}}
"""

_RUN_MANY = f"""
declare void @GOMP_parallel(ptr, ptr, i32, i32)

define void @run_many(ptr %call_args) {{
  %entry_slot = getelementptr i64, ptr %call_args, i64 {ENTRY_SLOT}
  %entry = load ptr, ptr %entry_slot
  %threads_slot = getelementptr i64, ptr %call_args, i64 {THREADS_SLOT}
  %threads = load i32, ptr %threads_slot
  call void @GOMP_parallel(ptr %entry, ptr %call_args, i32 %threads, i32 0)
  ret void
}}
"""
"""One argument instead of four: ctypes needs 0.3 µs less to call it."""

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


at_fork(after_in_child=_after_fork)


def is_forked() -> bool:
    """Whether this process is a forked child: then nothing may enter the OpenMP pool."""
    return _forked


def thread_count() -> int:
    """How many threads a kernel may use now: as many as torch does, one in a forked child.

    Never fewer because there are few tasks: libgomp ends the threads that a smaller team leaves
    out, and starts them anew for the next (pytorch/pytorch#32008).
    """
    return 1 if _forked else torch.get_num_threads()


def native(address: int) -> Call:
    """The native function at ``address``, called on this thread."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)


@cache
def run_one() -> Call:
    """Runs the kernel of a CallArgs on the calling thread."""
    return native(_load_run_one().address)


@cache
def run_many() -> Call | None:
    """Runs the kernel of a CallArgs on torch's pool; None if torch does not use libgomp."""
    loaded = _load_run_many()
    return native(loaded.address) if loaded else None


@cache
def _load_run_one() -> Loaded:
    """The machine code of ``run_one``, kept for the life of the process."""
    return load(compile_object(_RUN_ONE, PORTABLE), "run_one")


@cache
def _load_run_many() -> Loaded | None:
    """The machine code of ``run_many``, likewise kept."""
    functions = gomp_functions("GOMP_parallel")
    return load(compile_object(_RUN_MANY, PORTABLE), "run_many", functions) if functions else None


def gomp_functions(*names: str) -> dict[str, int]:
    """The addresses of functions of the libgomp that torch has loaded; nothing if it uses none."""
    for path in _mapped_files():
        if path.name.startswith("libgomp"):
            library = ctypes.CDLL(str(path))
            found = {name: ctypes.cast(library[name], ctypes.c_void_p).value for name in names}
            return {name: address for name, address in found.items() if address is not None}
    return {}


def _mapped_files() -> list[Path]:
    """The files mapped into this process, where the system tells."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    lines = [line.split(maxsplit=5) for line in maps.read_text().splitlines()]
    return [Path(line[5]) for line in lines if len(line) == 6]
