"""Memory between guard pages: a read or write one byte outside kills the process.

``guarded`` copies a tensor there, with its strides; ``guarded_scratch`` is an ``allocate`` for
``Scratchpads``, ``guarded_empty`` an ``empty`` for ``Launcher``; ``survives`` runs a function in a
forked child and tells whether it lived.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import resource
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from snipjit.runtime.interface import Ints
from snipjit.runtime.scratchpad import Block

Side = Literal["start", "end"]
SIDES: tuple[Side, ...] = ("start", "end")

_libc = ctypes.CDLL(None, use_errno=True)
_PROT_NONE = 0


def guarded_bytes(size: int, side: Side) -> np.ndarray:
    """``size`` bytes with a guard page before and after; flush with the one at ``side``."""
    page = mmap.PAGESIZE
    inner = -(-max(size, 1) // page) * page
    memory = mmap.mmap(-1, inner + 2 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    array = np.frombuffer(memory, dtype=np.uint8)
    base = array.ctypes.data
    for guard in (base, base + page + inner):
        if _libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), _PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = page if side == "start" else page + inner - size
    return array[start : start + size]


def guarded(tensor: torch.Tensor, side: Side = "end") -> torch.Tensor:
    """A copy of ``tensor`` with its strides, whose storage lies flush with a guard page."""
    steps = [
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    ]
    span = 0 if tensor.numel() == 0 else sum(steps) + 1
    memory = torch.from_numpy(guarded_bytes(span * tensor.element_size(), side))
    copy = memory.view(tensor.dtype).as_strided(tensor.shape, tensor.stride())
    dims_that_move = [slice(None) if stride else slice(0, 1) for stride in tensor.stride()]
    copy[tuple(dims_that_move)] = tensor[tuple(dims_that_move)]
    return copy


def guarded_scratch(side: Side = "end") -> Callable[[int], Block]:
    """An ``allocate`` for ``Scratchpads`` whose blocks lie flush with a guard page."""

    def allocate(size: int) -> Block:
        array = guarded_bytes(size, side)
        return Block(array.ctypes.data, size, array)

    return allocate


def guarded_empty(side: Side = "end") -> Callable[..., torch.Tensor]:
    """An ``empty`` for ``Launcher``: outputs lie flush with a guard page, full of NaN or True."""

    def empty(shape: Ints, strides: Ints, dtype: torch.dtype) -> torch.Tensor:
        fill = float("nan") if dtype.is_floating_point else 1
        tensor = torch.empty_strided(shape, strides, dtype=dtype).fill_(fill)
        return guarded(tensor, side)

    return empty


def survives(function: Callable[[], object]) -> bool:
    """Whether ``function`` ends without killing its process; it runs in a forked child."""
    child = os.fork()
    if child == 0:
        code = 1
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0
