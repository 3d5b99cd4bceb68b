"""BINARY CODE GENERATION: the final LinearIR in, an llvmlite module out."""

from __future__ import annotations

from snipjit.passes.base import Pass
from snipjit.passes.llvm.convert_linear_to_llvm import SYMBOL, ConvertLinearToLLVM
from snipjit.target_machine import TargetMachine


def pipeline(target: TargetMachine) -> tuple[Pass, ...]:
    """The one pass: everything has been decided before it."""
    return (ConvertLinearToLLVM(target),)


__all__ = ["SYMBOL", "ConvertLinearToLLVM", "pipeline"]
