"""What is legal in what loads of an input compute, until it is written out."""

from __future__ import annotations

from snipjit.errors import VerificationError
from snipjit.ir.dequantized import STEPS
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.tensors import Tensor


def check_steps(lir: LinearIR, final: bool) -> None:
    """Functions of two operands, the other one a scalar or an input of no further axes; of inputs
    alone, and of none in the end."""
    for tensor in (*lir.inputs, *lir.outputs):
        if tensor.steps and (wrong := _wrong(lir, tensor, final)) is not None:
            raise VerificationError(f"{lir.name}: %{tensor.name} is loaded {wrong}")


def _wrong(lir: LinearIR, tensor: Tensor, final: bool) -> str | None:
    if tensor in lir.outputs:
        return "with functions, but it is an output"
    if final:
        return "with functions: write them out"
    for op, name in tensor.steps:
        if op not in STEPS:
            return f"with {op}; one of {', '.join(STEPS)}"
        inputs = [one for one in lir.inputs if one.name == name]
        if not inputs and name not in lir.scalars:
            return f"with %{name}, which is no input and no scalar"
        if any({*one.axes} - {*tensor.axes} for one in inputs):
            return f"with %{name}, which has other axes"
    return None
