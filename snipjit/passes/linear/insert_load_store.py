"""InsertLoadStore: every operand that is memory gets a load of its own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Statement
from snipjit.ir.regions import rewrite
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.passes.linear.pack_operands import loaded_type


@dataclass(frozen=True)
class InsertLoadStore(LinearPass):
    """Make memory accesses explicit; one load serves all readers of a body that want it alike.

    So it is with the index of a load by index.

    Before:  %t = add %s %mask : f32[n m] ; %u = mul %t %mask : f32[n m]
    After:   %mask.tile = load %mask : f32[n]
             %t = add %s %mask.tile ; %u = mul %t %mask.tile
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Insert loads in every body."""
        loads = Counter[str]()
        lir.body = rewrite(lir.body, lambda body, _: _with_loads(lir, body, loads))
        return lir


def _with_loads(lir: LinearIR, body: list[Statement], loads: Counter[str]) -> list[Statement]:
    result: list[Statement] = []
    loaded: dict[tuple[str, str | None], str] = {}
    for statement in body:
        if isinstance(statement, Expression):
            pairs = statement.attrs.get("pairs")
            for name in statement.operands:
                if name in lir.tensors and (name, pairs) not in loaded:
                    load = _load(lir, name, pairs, loads)
                    loaded[name, pairs] = load.output or name
                    result.append(load)
            own = len(statement.inputs) - len(statement.operands)
            inputs = tuple(loaded.get((name, pairs), name) for name in statement.operands)
            statement = replace(statement, inputs=(*statement.inputs[:own], *inputs))
        result.append(statement)
    return result


def _load(lir: LinearIR, name: str, pairs: str | None, loads: Counter[str]) -> Expression:
    """A load into a register of its own: one that is assigned once may be hoisted."""
    number = f".{loads[name]}" if loads[name] else ""
    loads[name] += 1
    return Expression("load", f"{name}.tile{number}", (name,), loaded_type(lir, name, pairs))
