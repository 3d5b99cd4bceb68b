"""InsertDequantization: what a load makes of integers is written out behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Statement
from snipjit.ir.regions import rewrite
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.passes.linear.pack_operands import loaded_type


@dataclass(frozen=True)
class InsertDequantization(LinearPass):
    """Load zeros and scales beside integers, and apply them in registers.

    Until here such a tensor is one of narrow floats, which is what all passes above want to know.
    What follows sees functions of loads: zeros of a channel leave the loop over what is summed.

    Before:  input %w : i8[n][k] then sub %z
             %w.tile = load %w : f32[n k]
    After:   input %w : i8[n][k]
             %w.tile.0 = load %w : f32[n k]
             %w.tile.z = load %z : f32[n]
             %w.tile = sub %w.tile.0 %w.tile.z : f32[n k]
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Rewrite every load of such a tensor."""
        steps = {tensor.name: tensor.steps for tensor in lir.inputs if tensor.steps}
        if not steps:
            return lir
        lir.inputs = [replace(tensor, steps=()) for tensor in lir.inputs]

        def written(body: list[Statement]) -> Iterator[Statement]:
            for s in body:
                if isinstance(s, Expression) and s.op == "load" and s.inputs[0] in steps:
                    yield from _written(lir, s, steps[s.inputs[0]])
                else:
                    yield s

        lir.body = rewrite(lir.body, lambda body, _: list(written(body)))
        return lir


def _written(
    lir: LinearIR, load: Expression, steps: tuple[tuple[str, str], ...]
) -> Iterator[Expression]:
    """A load and the functions behind it; the last one has the name of the load."""
    name = f"{load.output}.0"
    yield replace(load, output=name)
    for number, (op, operand) in enumerate(steps, 1):
        other = operand
        if operand in lir.tensors:
            other = f"{load.output}.{operand}"
            yield Expression("load", other, (operand,), loaded_type(lir, operand))
        made = load.output if number == len(steps) else f"{load.output}.{number}"
        yield Expression(op, made, (name, other), ValueType("f32", load.type.axes))
        name = made or name
