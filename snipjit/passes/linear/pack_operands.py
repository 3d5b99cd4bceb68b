"""PackOperands: a product's operand is brought into the order of its use once, not every time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Loop, Statement
from snipjit.ir.loop_nest import task_body
from snipjit.ir.regions import put
from snipjit.passes.linear.linear_pass import LinearPass


@dataclass(frozen=True)
class PackOperands(LinearPass):
    """Load what the schedule has packed before the loops that multiply: once a task, or a block.

    The load goes through register transposes or conversions, and its value becomes a buffer.

    Before:  for n step 128 { %s = brgemm %q %k {over=(d), read=(task, place)} }
    After:   %q.packed = load %q : f32[d m]                          with %q [b][m][d], lanes m
             for n step 128 { %s = brgemm %q.packed %k {over=(d)} }

    Before:  for n step 128 { … ; %o = brgemm %p %v %o {over=(n), pairs=n, read=(place, block)} }
    After:   for n step 128 { %v.packed = load %v : bf16[n e] pairs n            with %v [b][n][e]
                              … ; %o = brgemm %p %v.packed %o {over=(n), pairs=n} }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Pack for every product of the kernel."""
        packing, task = _Packing(lir), task_body(lir)
        packing.follow(task)
        task[:0] = packing.task.values()
        return lir


def loaded_type(lir: LinearIR, name: str, pairs: str | None = None) -> ValueType:
    """The register type of an input."""
    tensor = lir.tensors[name]
    dtype = tensor.element.register if pairs is None else tensor.dtype
    return ValueType(dtype, lir.sort_axes(tensor.axes), pairs)


@dataclass
class _Packing:
    """The loads that pack.

    task     what is packed at the head of the task
    numbers  how often each input is packed
    """

    lir: LinearIR
    task: dict[str, Expression] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)

    def follow(self, body: list[Statement]) -> None:
        """Pack for the products of a body."""
        head: dict[str, Expression] = {}
        for statement in list(body):
            if isinstance(statement, Loop):
                for piece in statement.pieces:
                    self.follow(piece.body)
            elif isinstance(statement, Expression) and "read" in statement.attrs:
                homes = {"task": self.task, "block": head}
                put(body, statement, self.operands(statement, homes))
        body[:0] = head.values()

    def operands(self, e: Expression, homes: dict[str, dict[str, Expression]]) -> Expression:
        """A product with packed operands where the schedule says so."""
        places = tuple("place" if home in homes else home for home in e.attrs["read"])
        for name, home in zip(e.inputs[:2], e.attrs["read"], strict=True):
            if home in homes:
                e = self.pack(e, name, homes[home])
        return e.with_attrs(read=places) if "tile" in places else e.without("read")

    def pack(self, e: Expression, name: str, home: dict[str, Expression]) -> Expression:
        """Load an operand in front, once for all that want it."""
        type = loaded_type(self.lir, name, e.attrs.get("pairs"))
        slot = f"{name} {type.pairs}"
        if slot not in home:
            number = f".{self.numbers[name]}" if self.numbers[name] else ""
            self.numbers[name] += 1
            home[slot] = Expression("load", f"{name}.packed{number}", (name,), type)
        output = home[slot].output or name
        inputs = tuple(output if operand == name else operand for operand in e.inputs)
        return replace(e, inputs=inputs)
