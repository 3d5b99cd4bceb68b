"""PackOperands: a product's lanes operand is brought into lanes order once, not at every use."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit.element_types import computed_as
from snipjit.linear_ir import Expression, LinearIR, ValueType, walk
from snipjit.loop_nest import most, parallel_loops, task_body
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class PackOperands(Pass):
    """Load an input whose lanes axis is not innermost in memory before the loops that multiply it.

    The value is loaded (through register transposes) as early as its axes allow and becomes a
    buffer with the lanes axis innermost. Only axes of static size are packed: a dynamic one would
    need a buffer that grows.

    Before:  for n step 128 { %s = brgemm %q %k {over=(d)} }        with %q [b][m][d], lanes m
    After:   %q.packed = load %q : f32[d m]
             for n step 128 { %s = brgemm %q.packed %k {over=(d)} }
    """

    def run(self, lir: LinearIR) -> LinearIR:
        """Pack for every product of the kernel."""
        body = task_body(lir)
        packed: dict[str, Expression] = {}
        for statement, _ in walk(body):
            if isinstance(statement, Expression) and statement.op == "brgemm":
                statement.inputs = tuple(_pack(lir, name, packed) for name in statement.inputs)
        body[:0] = list(packed.values())
        return lir


def _pack(lir: LinearIR, name: str, packed: dict[str, Expression]) -> str:
    tensor = lir.tensors.get(name)
    if tensor is None or lir.vector_axis(tensor.axes) in (None, tensor.unit_axis):
        return name
    parallel = parallel_loops(lir)
    if any(most(lir, axis, parallel) is None for axis in tensor.axes):
        return name
    output = f"{name}.packed"
    type = ValueType(computed_as(tensor.dtype), lir.sort_axes(tensor.axes))
    packed[name] = Expression("load", output, (name,), type)
    return output
