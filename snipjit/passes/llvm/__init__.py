"""BINARY CODE GENERATION: the final LinearIR in, an llvmlite module out.

==============  ===============================================================================
values          ``vector_ir``, ``tile``, ``emission``
memory          ``access``, ``strided_access``, ``pair_access``; ``emit_memory``, ``emit_pad``,
                ``emit_transpose``, ``emit_convert``
loops           ``loop_state``; ``emit_loop``, ``emit_limits``, ``emit_join``, ``emit_retry``
operations      ``emit_operations``, ``emit_elementwise`` with a file for each longer function,
                ``emit_reductions`` and ``across``, ``pairs``, ``emit_tiles``
==============  ===============================================================================
"""

from __future__ import annotations

from snipjit.passes.base import Pass
from snipjit.passes.llvm.convert_linear_to_llvm import SYMBOL, ConvertLinearToLLVM
from snipjit.target.target_machine import TargetMachine


def pipeline(target: TargetMachine) -> tuple[Pass, ...]:
    """The one pass: everything has been decided before it."""
    return (ConvertLinearToLLVM(target),)


__all__ = ["SYMBOL", "ConvertLinearToLLVM", "pipeline"]
