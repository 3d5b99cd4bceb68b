"""Host: what the system must be and allow before a kernel can run, and what a fork waits for."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
import threading
from collections.abc import Callable

from snipjit.errors import UnsupportedError

PROT_READ, PROT_EXEC = 1, 4
"""What ``mprotect`` is asked for; the module ``mmap`` has them on Unix only."""

LOCK = threading.RLock()
"""Held by whoever compiles. There is one, so that no two wait for each other, and a thread may take
it again: a signal handler runs on the thread that it interrupts, between two calls of LLVM, and may
fork or need a kernel of its own."""


def at_fork(
    before: Callable[[], object] = lambda: None,
    after_in_parent: Callable[[], object] = lambda: None,
    after_in_child: Callable[[], object] = lambda: None,
) -> None:
    """Call these around each fork, where the system has such a thing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=before, after_in_parent=after_in_parent, after_in_child=after_in_child
        )


# The child shall find the lock free.
at_fork(before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release)


def require_platform() -> None:
    """Raise UnsupportedError on any system but Linux on x86-64."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise UnsupportedError(
            "snipjit compiles for x86-64 Linux; this is "
            f"{platform.system() or sys.platform} on {platform.machine() or 'an unknown CPU'}: "
            "run the model without it"
        )


def require_executable_memory() -> None:
    """Raise UnsupportedError where memory that was written may not become executable.

    LLVM would end the process there. A service manager (systemd's ``MemoryDenyWriteExecute``) or a
    security policy (SELinux without ``execmem``) asks for it. Costs some microseconds, so that it
    is asked before each loading: a process may give the right up at any time.
    """
    if not may_execute():
        raise UnsupportedError(
            "this process may not make memory executable (MemoryDenyWriteExecute of systemd, "
            "PR_SET_MDWE, or a policy of SELinux); accepted: a process that may"
        )


def may_execute() -> bool:
    """Whether a page that was written can be made executable."""
    libc = ctypes.CDLL(None)
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    size = ctypes.c_size_t(mmap.PAGESIZE)
    return bool(libc.mprotect(ctypes.c_void_p(address), size, PROT_READ | PROT_EXEC) == 0)
