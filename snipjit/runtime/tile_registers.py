"""Tile registers: Linux lends a process the state of AMX if it asks for it.

They are used once they have multiplied two known tiles: no instruction set of a virtual machine is
believed before it has given the right numbers.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache

import numpy as np

from snipjit.target.tile_configuration import SIDE, configuration

ARCH_PRCTL = 158
"""The system call on x86-64."""

ARCH_REQ_XCOMP_PERM = 0x1023
XFEATURE_XTILEDATA = 18
PROBE = """
declare void @llvm.x86.ldtilecfg(ptr)
declare void @llvm.x86.tilezero(i8)
declare void @llvm.x86.tileloadd64(i8, ptr, i64)
declare void @llvm.x86.tdpbf16ps(i8, i8, i8)
declare void @llvm.x86.tilestored64(i8, ptr, i64)
declare void @llvm.x86.tilerelease()

define void @probe(ptr %configuration, ptr %a, ptr %b, ptr %c) {
  call void @llvm.x86.ldtilecfg(ptr %configuration)
  call void @llvm.x86.tilezero(i8 0)
  call void @llvm.x86.tileloadd64(i8 1, ptr %a, i64 64)
  call void @llvm.x86.tileloadd64(i8 2, ptr %b, i64 64)
  call void @llvm.x86.tdpbf16ps(i8 0, i8 1, i8 2)
  call void @llvm.x86.tilestored64(i8 0, ptr %c, i64 64)
  call void @llvm.x86.tilerelease()
  ret void
}
"""
"""A product of two tiles of bf16, under a configuration."""


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


def agrees(address: int) -> bool:
    """Whether the compiled ``PROBE`` gives the right product of small integers."""
    numbers = np.random.default_rng(0).integers(-8, 8, (2, SIDE, 2 * SIDE)).astype(np.float32)
    a, b = numbers
    tiles = [(tile.view(np.uint32) >> 16).astype(np.uint16) for tile in (a, b)]
    result = np.full((SIDE, SIDE), np.nan, np.float32)
    content = np.frombuffer(configuration(), np.uint8).copy()
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(address)
    call(content.ctypes.data, *(tile.ctypes.data for tile in tiles), result.ctypes.data)
    pairs = b.reshape(SIDE, SIDE, 2)
    return bool((result == np.einsum("mkp,knp->mn", a.reshape(SIDE, SIDE, 2), pairs)).all())
