"""What is legal in LinearIR: a table of operations, then names, types and loops.

``verify`` holds after every pass of ``passes/linear``. With ``final`` it demands what emission
relies on as well: see ``ir/verify/linear_loops.py`` and ``ir/verify/linear_buffers.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from snipjit.errors import VerificationError
from snipjit.ir.element_types import ELEMENT_TYPES, PAIRED, Typed
from snipjit.ir.expression import MOVES, Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Loop, Nest, is_kind
from snipjit.ir.linear_operations import MOVED, Rule, rule_of
from snipjit.ir.loop_nest import join_of
from snipjit.ir.operations import ELEMENTWISE, MONOIDS, wrong_operands
from snipjit.ir.tensors import Buffer, Tensor
from snipjit.ir.text.linear import around, print_type
from snipjit.ir.verify.linear_buffers import check_buffers
from snipjit.ir.verify.linear_claims import check_claims
from snipjit.ir.verify.linear_indices import check_indices
from snipjit.ir.verify.linear_joins import check_joins
from snipjit.ir.verify.linear_lanes import check_lanes
from snipjit.ir.verify.linear_loops import check_loops, check_place
from snipjit.ir.verify.linear_pairs import check_pairs
from snipjit.ir.verify.linear_ports import check_ports
from snipjit.ir.verify.linear_schedule import check_schedule
from snipjit.ir.verify.linear_states import check_states
from snipjit.ir.verify.linear_steps import check_steps


def verify(lir: LinearIR, final: bool = False) -> None:
    """Raise VerificationError, with the IR around the fault, if a rule is broken.

    final  the whole pipeline has run: every operand is a register, every remainder is covered,
           pointers move as the loops do, buffers hold what is stored and do not collide
    """
    verifier = _Verifier(lir, final)
    verifier.head()
    check_schedule(lir)
    for statement, loops in lir.walk():
        if isinstance(statement, Loop):
            check_place(lir, statement, loops)
            verifier.flags(statement)
        elif isinstance(statement, Buffer):
            verifier.buffer(statement)
        else:
            verifier.expression(statement, loops)
    verifier.results()
    check_claims(lir)
    check_indices(lir)
    check_joins(lir)
    check_lanes(lir)
    check_pairs(lir)
    check_states(lir)
    check_steps(lir, final)
    if final:
        check_loops(lir)
        check_ports(lir)
        check_buffers(lir)


@dataclass(frozen=True)
class _Known(Typed):
    """What a name stands for: its kind, element type and axes."""

    kind: str
    dtype: str
    axes: tuple[str, ...]

    def types(self) -> tuple[str, ...]:
        """The element types of registers that are moved to it and from it, the usual one last."""
        return (self.dtype,) if self.kind == "register" else (self.dtype, self.element.register)


@dataclass
class _Verifier:
    lir: LinearIR
    final: bool
    names: dict[str, _Known] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    here: Expression | Buffer | Loop | None = None

    def demand(self, holds: bool, message: str) -> None:
        """Raise unless a rule holds for the current statement."""
        if not holds:
            shown = f"\n{around(self.lir, self.here)}" if self.here is not None else ""
            raise VerificationError(f"{self.lir.name}: {message}{shown}")

    # The head

    def head(self) -> None:
        """Axes, tensors and scalars: known, and each name once."""
        lir = self.lir
        for lanes in lir.lanes:
            self.demand(lanes in lir.axes, f"the lanes axis {lanes} is not declared")
        self.demand(lir.width > 0, "the vector width must be at least 1")
        for axis, size in lir.axes.items():
            self.demand(size is None or size > 0, f"axis {axis} has size {size}: at least 1")
        for kind, tensors in (("input", lir.inputs), ("output", lir.outputs)):
            for tensor in tensors:
                self.tensor(kind, tensor)
        for name in lir.scalars:
            self.declare(name, _Known("scalar", "f32", ()))

    def tensor(self, kind: str, tensor: Tensor) -> None:
        """An input or output: known axes, each once, and an order of all dims."""
        known = tensor.dtype in ELEMENT_TYPES
        self.demand(known, f"%{tensor.name} has element type {tensor.dtype}")
        self.axes(tensor.axes, f"%{tensor.name}")
        dims = tuple(range(len(tensor.dims)))
        complete = tuple(sorted(tensor.order)) == dims or (kind == "input" and not tensor.order)
        self.demand(complete, f"the order of %{tensor.name} must list each of its dims once")
        misfit = tensor.parts.misfit(tensor.dims) if tensor.parts is not None else None
        self.demand(not misfit, f"%{tensor.name}: {misfit}")
        self.declare(tensor.name, _Known(kind, tensor.dtype, tensor.axes))

    def declare(self, name: str, known: _Known) -> None:
        """A name that nothing else has."""
        self.demand(name not in self.names, f"%{name} is declared twice")
        self.names[name] = known

    def axes(self, axes: tuple[str, ...], what: str) -> None:
        """Axes that are declared, each once."""
        unknown = ", ".join(axis for axis in axes if axis not in self.lir.axes)
        self.demand(not unknown, f"{what} has unknown axes: {unknown}")
        self.demand(len(set(axes)) == len(axes), f"{what} has an axis twice")

    def results(self) -> None:
        """Every output is stored."""
        self.here = None
        for tensor in self.lir.outputs:
            self.demand(tensor.name in self.stored, f"nothing stores the output %{tensor.name}")

    # Statements

    def flags(self, loop: Loop) -> None:
        """The registers that a loop asks are single booleans."""
        self.here = loop
        flags = [limit.when for limit in loop.limits if limit.when]
        for name in [*flags, *([loop.flag] if is_kind(loop, "retry") else [])]:
            known = self.names.get(name, _Known("", "", ()))
            self.demand(known.kind == "register", f"%{name} is not defined before it is asked")
            self.demand(known.dtype == "i1", f"%{name} is {known.dtype}, not i1")

    def buffer(self, buffer: Buffer) -> None:
        """Declared once, or again as it was (tails repeat the main body)."""
        self.here = buffer
        if buffer.name in self.buffers:
            same = self.buffers[buffer.name] == buffer
            return self.demand(same, f"%{buffer.name} is declared differently elsewhere")
        known = buffer.dtype in ELEMENT_TYPES
        self.demand(known, f"%{buffer.name} has element type {buffer.dtype}")
        self.axes(buffer.axes, f"%{buffer.name}")
        positive = all(extent > 0 for extent in buffer.extents.values())
        self.demand(positive, "an extent must be at least 1")
        self.buffers[buffer.name] = buffer
        self.declare(buffer.name, _Known("buffer", buffer.dtype, buffer.axes))

    def expression(self, e: Expression, loops: Nest) -> None:
        """Operation, operands, attributes, types; then its output becomes known."""
        self.here = e
        rule = rule_of(e.op)
        if rule is None:
            return self.demand(False, f"unknown operation {e.op}")
        self.demand(rule.final or not self.final, f"{e.op} must be lowered before emission")
        self.demand(len(e.inputs) in rule.operands, _operand_count(e, rule))
        self.attributes(e, rule, loops)
        self.axes(e.type.axes, f"the type of {e.op}")
        ordered = self.lir.sort_axes(e.type.axes)
        self.demand(e.type.axes == ordered, f"the axes must stand as [{' '.join(ordered)}]")
        operands = [self.operand(name, e) for name in e.inputs]
        if e.op == "store":
            return self.store(e, *operands)
        self.operation(e, operands)
        if e.op not in (*MOVED, "claim"):
            self.output(e)

    def attributes(self, e: Expression, rule: Rule, loops: Nest) -> None:
        """Exactly those of the rule, with values that mean something."""
        missing = ", ".join(name for name in rule.attrs if name not in e.attrs)
        self.demand(not missing, f"{e.op} needs the attributes {missing}")
        extra = ", ".join(name for name in e.attrs if name not in (*rule.attrs, *rule.optional))
        self.demand(not extra, f"{e.op} has no attributes {extra}")
        if "monoid" in rule.attrs:
            known = ", ".join(MONOIDS)
            self.demand(e.attrs["monoid"] in MONOIDS, f"unknown monoid; known: {known}")
        if e.op == "iota":
            here = e.attrs["axis"] in e.type.axes and e.type.dtype == "i32"
            self.demand(here, "an iota is i32 and has its axis")
        if "value" in rule.attrs:
            self.demand(isinstance(e.attrs["value"], int | float), "the value must be a number")
        if "precision" in e.attrs:
            wrong = f"the only other precision is {PAIRED}"
            self.demand(e.attrs["precision"] == PAIRED, wrong)
        if "over" in rule.attrs:
            self.over(e, loops)

    def over(self, e: Expression, loops: Nest) -> None:
        """The combined axes: some, known, not of the result, never parallel."""
        self.demand(isinstance(e.attrs["over"], tuple) and bool(e.over), "over=(axis, …) is empty")
        self.axes(e.over, "over")
        kept = ", ".join(axis for axis in e.over if axis in e.type.axes)
        self.demand(not kept, f"axes {kept} cannot be combined and stay in the result")
        whole = [loop for loop in loops if loop.parallel and not join_of(loop)]
        split = [loop.axis for loop in whole if loop.axis in e.over]
        # Whether any element of a task is true may be asked: the answer says so of the task.
        split = [] if e.attrs.get("monoid") == "any" else split
        self.demand(not split, f"axis {', '.join(split)} is combined in a parallel loop over it")

    def operand(self, name: str, e: Expression) -> _Known:
        """A name that is known here; only moves touch memory in the end."""
        self.demand(name in self.names, f"%{name} is not defined before it is used")
        known = self.names[name]
        moved = e.op in MOVES and name == e.inputs[0]
        if not moved:
            self.demand(known.kind != "output", f"the output %{name} cannot be read")
            direct = known.kind in ("input", "buffer") and (self.final or known.kind == "buffer")
            self.demand(not direct, f"%{name} is memory: load it first")
        return known

    def operation(self, e: Expression, operands: list[_Known]) -> None:
        """Element types and axes of the operands of everything but a store."""
        if e.op in MOVES:
            return self.load(e, *operands)
        over = set(e.over)
        for name, known in zip(e.inputs, operands, strict=True):
            extra = ", ".join(a for a in known.axes if a not in e.type.axes and a not in over)
            self.demand(not extra, f"%{name} has axes {extra}, which the result lacks")
        if over:
            present = {axis for known in operands for axis in known.axes}
            missing = ", ".join(axis for axis in e.over if axis not in present)
            self.demand(not missing, f"no operand has axes {missing}, which {e.op} is over")
        if len(operands) == 3 and over:
            inside = over.isdisjoint(operands[2].axes)
            self.demand(inside, f"the accumulator %{e.inputs[2]} has an axis that is summed over")
        self.dtypes(e, [known.types()[-1] for known in operands])

    def dtypes(self, e: Expression, found: list[str]) -> None:
        """The element types an operation takes, and the one it gives."""
        wanted = e.type.dtype
        if e.op in ELEMENTWISE:
            row = ELEMENTWISE[e.op]
            if wrong := wrong_operands(row, found):
                self.demand(False, wrong)
            wanted = row.result or found[-1]
        elif e.over:
            wanted = MONOIDS[e.attrs.get("monoid", "sum")].dtype
            taken = {wanted, PAIRED} if "pairs" in e.attrs else {wanted}
            self.demand(set(found) <= taken, f"{e.op} takes {wanted}, not {', '.join(found)}")
        self.demand(e.type.dtype == wanted, f"the result of {e.op} is {wanted}")

    def load(self, e: Expression, source: _Known, *index: _Known) -> None:
        """From an input or a buffer, with all of its axes; not all moves are of both."""
        name, kinds = e.inputs[0], MOVED.get(e.op, ("input", "buffer"))
        self.demand(source.kind in kinds, f"%{name} is no {' or '.join(kinds)}")
        asked = e.op != "load"
        self.demand(not asked or e.output is None, f"a {e.op} has no output")
        self.demand(e.type.dtype in source.types(), f"%{name} holds {source.dtype}")
        axes = dict.fromkeys(axis for known in (source, *index) for axis in known.axes)
        own = tuple(axis for axis in axes if axis != e.attrs.get("axis"))
        self.match(e, name, replace(source, axes=own))

    def store(self, e: Expression, target: _Known, value: _Known) -> None:
        """To an output or a buffer, with all of its axes."""
        name = e.inputs[0]
        self.demand(e.output is None, "a store has no output")
        self.demand(target.kind in ("output", "buffer"), f"%{name} is no output or buffer")
        same = e.type.dtype in target.types() and e.type.dtype in value.types()
        self.demand(same, f"%{name} holds {target.dtype}, %{e.inputs[1]} is {value.dtype}")
        self.demand(set(value.axes) <= set(e.type.axes), f"%{e.inputs[1]} has other axes")
        self.match(e, name, target)
        self.stored.add(name)

    def match(self, e: Expression, name: str, memory: _Known) -> None:
        """A move has the axes of its tensor; a buffer may lack those of which it holds one."""
        axes, moved = set(memory.axes), set(e.type.axes)
        fits = axes == moved or (memory.kind == "buffer" and axes < moved)
        self.demand(fits, f"%{name} has the axes [{' '.join(memory.axes)}]")

    def output(self, e: Expression) -> None:
        """A register: always of one type, and no other thing's name."""
        if e.output is None:
            return self.demand(False, f"{e.op} needs an output")
        known = self.names.get(e.output, _Known("register", e.type.dtype, e.type.axes))
        self.demand(known.kind == "register", f"%{e.output} is the name of {_article(known.kind)}")
        type, mine = ValueType(known.dtype, known.axes), ValueType(e.type.dtype, e.type.axes)
        self.demand(type == mine, f"%{e.output} is {print_type(type)} elsewhere")
        self.names[e.output] = known


def _operand_count(e: Expression, rule: Rule) -> str:
    counts = " or ".join(str(count) for count in rule.operands)
    return f"{e.op} takes {counts} operands, not {len(e.inputs)}"


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
