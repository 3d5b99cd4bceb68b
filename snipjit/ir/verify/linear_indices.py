"""What is legal with loads by index in LinearIR."""

from __future__ import annotations

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.tensors import Tensor
from snipjit.ir.verify.linear_loops import fault


def check_indices(lir: LinearIR) -> None:
    """Raise VerificationError for a load by index that is none of an input by one of another."""
    inputs = {tensor.name: tensor for tensor in lir.inputs}
    loaded = {e.output: e.inputs[0] for e in lir.expressions() if e.op == "load"}
    for e in lir.expressions():
        if e.op == "load" and (wrong := _wrong(e, inputs, loaded)) is not None:
            raise fault(lir, e, wrong)


def _wrong(e: Expression, inputs: dict[str, Tensor], loaded: dict[str | None, str]) -> str | None:
    """What is wrong with the index of a load; None if nothing is."""
    axis, indices = e.attrs.get("axis"), e.inputs[1:]
    if (axis is None) != (not indices):
        return "a load by index has an index and its axis"
    for name in indices:
        table, index = inputs.get(e.inputs[0]), inputs.get(loaded.get(name, name))
        if table is None or table.parts or table.block or index is None:
            return f"%{e.inputs[0]} and %{name} are no inputs that lie in memory as their axes say"
        if index.element.kind != "integer" or index.element.is_narrow:
            return f"%{name} is {index.dtype}, no index"
        if axis not in table.axes or axis in index.axes:
            return f"%{e.inputs[0]} alone has the axis {axis} of its index"
    return None
