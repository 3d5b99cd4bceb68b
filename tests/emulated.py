"""Instructions that the host may lack, for kernels of target rows that it cannot run.

AMX is emulated in NumPy, one call an instruction, with what the manual says about sizes, and
AVX512-BF16 in LLVM IR. That LLVM knows the instructions is seen where the same text is compiled for
the row itself.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from snipjit.compiler import emit
from snipjit.linear_ir import LinearIR
from snipjit.passes import llvm
from snipjit.recipes import recipe_of
from snipjit.runtime import engine
from snipjit.runtime.kernel import Kernel
from snipjit.runtime.launcher import Launcher
from snipjit.target_machine import TargetMachine, select

PAIRS = """
define internal <16 x float>
@emulated.dpbf16ps(<16 x float> %c, <32 x bfloat> %a, <32 x bfloat> %b) {
  %x = bitcast <32 x bfloat> %a to <16 x i32>
  %y = bitcast <32 x bfloat> %b to <16 x i32>
  %x0 = shl <16 x i32> %x, splat (i32 16)
  %y0 = shl <16 x i32> %y, splat (i32 16)
  %x1 = and <16 x i32> %x, splat (i32 -65536)
  %y1 = and <16 x i32> %y, splat (i32 -65536)
  %f0 = bitcast <16 x i32> %x0 to <16 x float>
  %g0 = bitcast <16 x i32> %y0 to <16 x float>
  %f1 = bitcast <16 x i32> %x1 to <16 x float>
  %g1 = bitcast <16 x i32> %y1 to <16 x float>
  %p = fmul <16 x float> %f0, %g0
  %q = fmul <16 x float> %f1, %g1
  %s = fadd <16 x float> %c, %p
  %t = fadd <16 x float> %s, %q
  ret <16 x float> %t
}
define internal <16 x i32> @emulated.round(<16 x float> %x) {
  %bits = bitcast <16 x float> %x to <16 x i32>
  %upper = lshr <16 x i32> %bits, splat (i32 16)
  %odd = and <16 x i32> %upper, splat (i32 1)
  %bias = add <16 x i32> %odd, splat (i32 32767)
  %sum = add <16 x i32> %bits, %bias
  %quiet = or <16 x i32> %bits, splat (i32 4194304)
  %nan = fcmp uno <16 x float> %x, %x
  %kept = select <16 x i1> %nan, <16 x i32> %quiet, <16 x i32> %sum
  %result = lshr <16 x i32> %kept, splat (i32 16)
  ret <16 x i32> %result
}
define internal <32 x bfloat> @emulated.cvtne2ps2bf16(<16 x float> %second, <16 x float> %first) {
  %low = call <16 x i32> @emulated.round(<16 x float> %first)
  %high = call <16 x i32> @emulated.round(<16 x float> %second)
  %a = trunc <16 x i32> %low to <16 x i16>
  %b = trunc <16 x i32> %high to <16 x i16>
  %both = shufflevector <16 x i16> %a, <16 x i16> %b, <32 x i32> <LANES>
  %result = bitcast <32 x i16> %both to <32 x bfloat>
  ret <32 x bfloat> %result
}
""".replace("LANES", ", ".join(f"i32 {lane}" for lane in range(32)))

IN_PAIRS = {
    "llvm.x86.avx512bf16.dpbf16ps.512": "emulated.dpbf16ps",
    "llvm.x86.avx512bf16.cvtne2ps2bf16.512": "emulated.cvtne2ps2bf16",
}


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


def in_calls(llvm_ir: str) -> str:
    """A module that calls functions where it had instructions."""
    text = re.sub(r"llvm\.x86\.(ldtilecfg|tile\w+|tdpbf16ps)", r"emulated_\1", llvm_ir)
    for name, function in IN_PAIRS.items():
        if name in text:
            text = re.sub(rf'declare [^\n]*@"{re.escape(name)}"[^\n]*\n', "", text)
            text = text.replace(f'@"{name}"', f"@{function}")
    return text + PAIRS


def launcher_of(lir: LinearIR, target: TargetMachine, amx: Amx) -> Launcher:
    """A kernel of a row whose instructions are emulated."""
    host = select(engine.host_features(), "avx512")
    code = engine.compile_object(in_calls(emit(lir, target)), host)
    loaded = engine.load(code, llvm.SYMBOL, amx.imports())
    return Launcher(Kernel("emulated", recipe_of(lir), code, loaded))
