"""Tile registers: Linux lends a process the state of AMX if it asks for it."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache

ARCH_PRCTL = 158
"""The system call on x86-64."""

ARCH_REQ_XCOMP_PERM = 0x1023
XFEATURE_XTILEDATA = 18


@cache
def are_permitted() -> bool:
    """Whether this process and its threads may use tile registers; asks once.

    See the kernel's documentation, ``arch/x86/xstate.rst``. A kernel that does not know the
    question, or one that finds an alternate signal stack too small for the state, refuses.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    answer = libc.syscall(
        ctypes.c_long(ARCH_PRCTL),
        ctypes.c_long(ARCH_REQ_XCOMP_PERM),
        ctypes.c_long(XFEATURE_XTILEDATA),
    )
    return bool(answer == 0)
