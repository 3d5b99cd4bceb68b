"""Kernels of target rows that the host cannot run, run all the same.

LLVM splits vectors that are wider than the host's. What is an instruction of its own is emulated:
AVX-512's and AVX512-BF16's by functions in LLVM IR, those of AMX in NumPy (``emulated_tiles``).
That LLVM knows the instructions is seen where the same text is compiled for the row itself.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch

from snipjit.compiler import emit
from snipjit.ir.linear_ir import LinearIR
from snipjit.passes import llvm
from snipjit.recipes import recipe_of
from snipjit.runtime import engine
from snipjit.runtime.interface import Interface
from snipjit.runtime.kernel import Kernel
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.structure import Structure
from snipjit.target.target_machine import TargetMachine, rows_for
from tests.emulated_tiles import Amx

FUNCTIONS = """
declare <16 x float> @llvm.floor.v16f32(<16 x float>)
declare <16 x float> @llvm.fabs.v16f32(<16 x float>)
declare <16 x float> @llvm.minnum.v16f32(<16 x float>, <16 x float>)
declare <16 x float> @llvm.copysign.v16f32(<16 x float>, <16 x float>)

define internal <16 x float> @emulated.reduce(
    <16 x float> %x, i32 %how, <16 x float> %kept, i16 %mask, i32 %rounding) {
  %floor = call <16 x float> @llvm.floor.v16f32(<16 x float> %x)
  %rest = fsub <16 x float> %x, %floor
  %size = call <16 x float> @llvm.fabs.v16f32(<16 x float> %x)
  %infinite = fcmp oeq <16 x float> %size, splat (float 0x7FF0000000000000)
  %result = select <16 x i1> %infinite, <16 x float> zeroinitializer, <16 x float> %rest
  ret <16 x float> %result
}
define internal <16 x float> @emulated.range(<16 x float> %x, <16 x float> %y, i32 %how,
    <16 x float> %kept, i16 %mask, i32 %rounding) {
  %a = call <16 x float> @llvm.fabs.v16f32(<16 x float> %x)
  %b = call <16 x float> @llvm.fabs.v16f32(<16 x float> %y)
  %least = call <16 x float> @llvm.minnum.v16f32(<16 x float> %a, <16 x float> %b)
  %result = call <16 x float> @llvm.copysign.v16f32(<16 x float> %least, <16 x float> %x)
  ret <16 x float> %result
}
define internal <16 x float> @emulated.scalef(
    <16 x float> %x, <16 x float> %n, <16 x float> %kept, i16 %mask, i32 %rounding) {
  %floor = call <16 x float> @llvm.floor.v16f32(<16 x float> %n)
  %nan = fcmp uno <16 x float> %n, %n
  %number = select <16 x i1> %nan, <16 x float> zeroinitializer, <16 x float> %floor
  %over = fcmp ogt <16 x float> %number, splat (float 1000.0)
  %most = select <16 x i1> %over, <16 x float> splat (float 1000.0), <16 x float> %number
  %under = fcmp olt <16 x float> %most, splat (float -1000.0)
  %power = select <16 x i1> %under, <16 x float> splat (float -1000.0), <16 x float> %most
  %integer = fptosi <16 x float> %power to <16 x i64>
  %biased = add <16 x i64> %integer, splat (i64 1023)
  %bits = shl <16 x i64> %biased, splat (i64 52)
  %factor = bitcast <16 x i64> %bits to <16 x double>
  %wide = fpext <16 x float> %x to <16 x double>
  %scaled = fmul <16 x double> %wide, %factor
  %narrow = fptrunc <16 x double> %scaled to <16 x float>
  %result = select <16 x i1> %nan, <16 x float> %n, <16 x float> %narrow
  ret <16 x float> %result
}
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

INSTRUCTIONS = {
    "llvm.x86.avx512.mask.reduce.ps.512": ("avx512dq", "emulated.reduce"),
    "llvm.x86.avx512.mask.range.ps.512": ("avx512dq", "emulated.range"),
    "llvm.x86.avx512.mask.scalef.ps.512": ("avx512f", "emulated.scalef"),
    "llvm.x86.avx512bf16.dpbf16ps.512": ("avx512bf16", "emulated.dpbf16ps"),
    "llvm.x86.avx512bf16.cvtne2ps2bf16.512": ("avx512bf16", "emulated.cvtne2ps2bf16"),
}
"""By LLVM's name: the feature that a host with the instruction has, and the function for it."""


def in_calls(llvm_ir: str, features: frozenset[str]) -> str:
    """A module that calls functions where it had instructions that a host does not have."""
    text = re.sub(r"llvm\.x86\.(ldtilecfg|tile\w+|tdpbf16ps)", r"emulated_\1", llvm_ir)
    for name, (feature, function) in INSTRUCTIONS.items():
        if feature not in features:
            text = re.sub(rf'declare [^\n]*@"{re.escape(name)}"[^\n]*\n', "", text)
            text = text.replace(f'@"{name}"', f"@{function}")
    # What stands here too must not be declared twice.
    declared = re.findall(r"^declare [^\n]*(@llvm\.[\w.]+)\(", FUNCTIONS, re.MULTILINE)
    for name in declared:
        text = re.sub(rf'declare [^\n]*@"?{re.escape(name[1:])}"?\([^\n]*\n', "", text)
    return text + FUNCTIONS


class Emulated(Launcher):
    """A kernel of a row that the host lacks; a call checks what its tile registers were asked."""

    def __init__(self, structure: Structure, amx: Amx) -> None:
        super().__init__(structure)
        self.amx = amx

    def __call__(self, *args: Any) -> Any:
        """Run on one thread: there is one set of emulated registers."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            result = super().__call__(*args)
        finally:
            torch.set_num_threads(threads)
        assert not self.amx.faults, self.amx.faults
        assert self.amx.rows == [0] * 8, "the registers are released"
        return result


def launcher_of(lir: LinearIR, target: TargetMachine, interface: Interface) -> Emulated:
    """A kernel of a row that the host lacks, with checks of its tile registers."""
    amx = Amx()
    return Emulated(Structure.single(interface, kernel_of(lir, target, amx)), amx)


def kernel_of(lir: LinearIR, target: TargetMachine, amx: Amx | None = None) -> Kernel:
    """The same without checks; it runs on one thread."""
    amx = amx or Amx()
    loaded = engine.load(object_code(emit(lir, target), target), llvm.SYMBOL, amx.imports())
    # The registers live as long as the code that calls them.
    kept = engine.Loaded(loaded.address, (loaded, amx))
    return Kernel("emulated", recipe_of(lir), b"", kept)


def object_code(llvm_ir: str, target: TargetMachine) -> bytes:
    """Code that the host runs of a module for a row that it lacks."""
    features = engine.host_features()
    host = rows_for(features)[0]
    return engine.compile_object(
        in_calls(llvm_ir, features),
        replace(target, features=host.features, disabled=host.disabled, cpu=host.cpu),
    )
