"""PackOperands: a product's operand is brought into the order of its use once, not every time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from snipjit.linear_ir import Expression, LinearIR, Loop, Statement, ValueType
from snipjit.loop_nest import is_bounded, parallel_loops, task_body
from snipjit.passes.base import Pass
from snipjit.tensors import Tensor


@dataclass(frozen=True)
class PackOperands(Pass):
    """Load inputs that do not lie in memory as a product wants them before the loops that multiply.

    An input whose lanes axis is not innermost in memory is loaded (through register transposes) at
    the head of the task. One of a narrow type that is read element by element is converted at the
    head of each block, for all panels of rows, or brought into pairs, unless these are neighbours
    in memory; what is innermost there becomes a lanes axis, so that whole vectors are loaded. The
    value becomes a buffer. Only what has a bounded size is packed: a dynamic axis would need a
    buffer that grows. Products in tiles have all their inputs packed, or are not in tiles: where
    two of them lie across each other one is left as it is.

    Before:  for n step 128 { %s = brgemm %q %k {over=(d)} }        with %q [b][m][d], lanes m
    After:   %q.packed = load %q : f32[d m]
             for n step 128 { %s = brgemm %q.packed %k {over=(d)} }

    Before:  for n step 128 { … ; %o = brgemm %p %v %o {over=(n), pairs=n} }     with %v [b][n][e]
    After:   for n step 128 { %v.packed = load %v : bf16[n e] pairs n
                              … ; %o = brgemm %p %v.packed %o {over=(n), pairs=n} }
    """

    def run(self, lir: LinearIR) -> LinearIR:
        """Pack for every product of the kernel."""
        packing, task = _Packing(lir, lir.lanes), task_body(lir)
        packing.follow(task, tuple(parallel_loops(lir)))
        task[:0] = packing.task.values()
        for statement, _ in lir.walk():
            if isinstance(statement, Expression):
                statement.type = replace(statement.type, axes=lir.sort_axes(statement.type.axes))
        return lir


def loaded_type(lir: LinearIR, name: str, pairs: str | None = None) -> ValueType:
    """The register type of an input."""
    tensor = lir.tensors[name]
    dtype = tensor.element.register if pairs is None else tensor.dtype
    return ValueType(dtype, lir.sort_axes(tensor.axes), pairs)


@dataclass
class _Packing:
    """The loads that pack.

    lanes    the lanes axes that the kernel had before
    task     what is packed at the head of the task
    numbers  how often each input is packed
    loaded   the inputs without lanes that are packed, along their innermost axes
    """

    lir: LinearIR
    lanes: tuple[str, ...]
    task: dict[str, Expression] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    loaded: list[Tensor] = field(default_factory=list)

    def follow(self, body: list[Statement], loops: tuple[Loop, ...]) -> None:
        """Pack for the products of a body."""
        head: dict[str, Expression] = {}
        for statement in body:
            if isinstance(statement, Loop):
                for piece in statement.pieces:
                    self.follow(piece.body, (*loops, statement))
            elif isinstance(statement, Expression) and statement.op == "brgemm":
                self.operands(statement, head, loops)
        body[:0] = head.values()

    def operands(self, e: Expression, head: dict[str, Expression], loops: tuple[Loop, ...]) -> None:
        """Use packed operands where that pays, in tiles everywhere."""
        outer = tuple(loop for loop in loops if loop.parallel)
        direct = (None, *(loop.axis for loop in outer), e.attrs.get("pairs"))
        tiles = "tiles" in e.attrs
        for name in e.inputs[:2]:
            tensor = self.lir.tensors.get(name)
            if tensor is None:
                continue
            unit, in_lanes = tensor.unit_axis, bool({*self.lanes} & {*tensor.axes})
            if in_lanes and is_bounded(self.lir, tensor.axes, outer):
                if tiles or self.lir.vector_axis(tensor.axes) != unit:
                    self.pack(e, name, self.task)
                continue
            pays = not in_lanes and tensor.element.is_narrow and unit not in direct
            if (tiles or pays) and is_bounded(self.lir, tensor.axes, loops):
                if in_lanes or self.add_lanes(tensor):
                    self.pack(e, name, head)
                else:
                    e.attrs = {name: value for name, value in e.attrs.items() if name != "tiles"}

    def add_lanes(self, tensor: Tensor) -> bool:
        """Have vectors of the innermost axis where there are no other ones.

        It comes in front of all axes of which others have vectors, but behind the tensor's own.
        False if these others, or the tensor, would then have vectors of another axis than theirs.
        """
        lanes, axis = self.lir.lanes, tensor.unit_axis or ""
        if axis not in lanes:
            place = max((lanes.index(a) + 1 for a in tensor.axes if a in lanes), default=0)
            lanes = (*lanes[:place], axis, *lanes[place:])
        loaded = [*self.loaded, tensor]
        last = [next(a for a in reversed(lanes) if a in one.axes) for one in loaded]
        if last != [one.unit_axis for one in loaded]:
            return False
        self.lir.lanes, self.loaded = lanes, loaded
        return True

    def pack(self, e: Expression, name: str, home: dict[str, Expression]) -> None:
        """Load an operand in front, once for all that want it."""
        type = loaded_type(self.lir, name, e.attrs.get("pairs"))
        slot = f"{name} {type.pairs}"
        if slot not in home:
            number = f".{self.numbers[name]}" if self.numbers[name] else ""
            self.numbers[name] += 1
            home[slot] = Expression("load", f"{name}.packed{number}", (name,), type)
        output = home[slot].output or name
        e.inputs = tuple(output if operand == name else operand for operand in e.inputs)
