"""Tile registers in NumPy, one call an instruction, with what the manual says about sizes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np


class Amx:
    """The eight registers of one thread."""

    def __init__(self) -> None:
        self.registers = np.zeros((8, 16, 64), np.uint8)
        self.rows = [0] * 8
        self.bytes = [0] * 8
        self.executed: dict[str, int] = {}
        self.faults: list[str] = []
        byte, pointer, whole = ctypes.c_uint8, ctypes.c_void_p, ctypes.c_int64
        signatures: dict[str, tuple[Any, ...]] = {
            "ldtilecfg": (pointer,),
            "tilerelease": (),
            "tilezero": (byte,),
            "tileloadd64": (byte, pointer, whole),
            "tilestored64": (byte, pointer, whole),
            "tdpbf16ps": (byte, byte, byte),
        }
        self.callbacks = {
            name: ctypes.CFUNCTYPE(None, *types)(self._counted(name))
            for name, types in signatures.items()
        }

    def imports(self) -> dict[str, int]:
        """The addresses of the instructions, by the names that ``in_calls`` gives them."""
        return {
            f"emulated_{name}": ctypes.cast(callback, ctypes.c_void_p).value or 0
            for name, callback in self.callbacks.items()
        }

    def _counted(self, name: str) -> Callable[..., None]:
        run = getattr(self, f"_{name}")

        def call(*operands: int) -> None:
            self.executed[name] = self.executed.get(name, 0) + 1
            try:
                run(*operands)
            except AssertionError as fault:  # ctypes would print it and go on
                self.faults.append(f"{name}{operands}: {fault}")

        return call

    def _ldtilecfg(self, address: int) -> None:
        content = np.frombuffer(ctypes.string_at(address, 64), np.uint8)
        assert content[0] == 1
        assert not content[1:16].any()
        self.bytes = [int(n) for n in content[16:32].view(np.uint16)]
        self.rows = [int(n) for n in content[48:56]]
        assert max(self.bytes) <= 64
        assert max(self.rows) <= 16
        self.registers[:] = 0

    def _tilerelease(self) -> None:
        self.rows, self.bytes = [0] * 8, [0] * 8

    def _tilezero(self, register: int) -> None:
        assert self.rows[register]
        self.registers[register] = 0

    def _tileloadd64(self, register: int, address: int, stride: int) -> None:
        rows, size = self.rows[register], self.bytes[register]
        assert rows * size
        self.registers[register] = 0
        for row in range(rows):
            line = ctypes.string_at(address + row * stride, size)
            self.registers[register, row, :size] = np.frombuffer(line, np.uint8)

    def _tilestored64(self, register: int, address: int, stride: int) -> None:
        rows, size = self.rows[register], self.bytes[register]
        assert rows * size
        for row in range(rows):
            line = self.registers[register, row, :size].tobytes()
            ctypes.memmove(address + row * stride, line, size)

    def _tdpbf16ps(self, c: int, a: int, b: int) -> None:
        assert (self.rows[c], self.bytes[c]) == (self.rows[a], self.bytes[b])
        assert self.bytes[a] == 4 * self.rows[b]
        left, right = (_floats(self.registers[register]) for register in (a, b))
        sums = self.registers[c].view(np.float32)
        pairs = right.reshape(16, 16, 2)
        sums += np.einsum("mkp,knp->mn", left.reshape(16, 16, 2), pairs)


def _floats(register: np.ndarray) -> np.ndarray:
    """The 32 bf16 numbers of each row."""
    halves = register.view(np.uint16).astype(np.uint32) << 16
    return halves.view(np.float32)
