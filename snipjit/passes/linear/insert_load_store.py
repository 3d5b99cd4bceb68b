"""InsertLoadStore: every operand that is memory gets a load of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from snipjit.element_types import computed_as
from snipjit.linear_ir import Expression, LinearIR, Loop, Statement, ValueType
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class InsertLoadStore(Pass):
    """Make memory accesses explicit; one load serves all readers of a body.

    Before:  %t = add %s %mask : f32[n m] ; %u = mul %t %mask : f32[n m]
    After:   %mask.tile = load %mask : f32[n]
             %t = add %s %mask.tile ; %u = mul %t %mask.tile
    """

    def run(self, lir: LinearIR) -> LinearIR:
        """Insert loads in every body."""
        _descend(lir, lir.body, Counter())
        return lir


def _descend(lir: LinearIR, body: list[Statement], loads: Counter[str]) -> None:
    result: list[Statement] = []
    loaded: dict[str, str] = {}
    for statement in body:
        if isinstance(statement, Loop):
            for piece in statement.pieces:
                _descend(lir, piece.body, loads)
        if isinstance(statement, Expression) and statement.op != "load":
            for name in statement.inputs[statement.op == "store" :]:
                if name in lir.tensors and name not in loaded:
                    load = _load(lir, name, loads)
                    loaded[name] = load.output or name
                    result.append(load)
            inputs = tuple(loaded.get(name, name) for name in statement.inputs)
            statement = replace(statement, inputs=inputs)
        result.append(statement)
    body[:] = result


def _load(lir: LinearIR, name: str, loads: Counter[str]) -> Expression:
    """A load into a register of its own: one that is assigned once may be hoisted."""
    number = f".{loads[name]}" if loads[name] else ""
    loads[name] += 1
    tensor = lir.tensors[name]
    type = ValueType(computed_as(tensor.dtype), lir.sort_axes(tensor.axes))
    return Expression("load", f"{name}.tile{number}", (name,), type)
