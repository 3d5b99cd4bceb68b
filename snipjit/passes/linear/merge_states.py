"""Merge: what combines the accumulators that a streaming loop has built from parts of its axis.

A loop updates its accumulators with the reductions of each block. The merge is the same update
with the accumulators of a chunk in the place of those reductions. What a loop has scaled by
``exp(x - max)``, as ``fuse_online.py`` makes it, a chunk has scaled by its own maximum; so the part
is brought to the common one by the factor with which the loop itself would have moved it there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from snipjit.ir.linear_ir import Expression, LinearIR, Loop, Statement, ValueType
from snipjit.ir.operations import EXPONENTIALS, MONOIDS


@dataclass
class Merge:
    """The merge of one loop: how accumulators begin, and the update by those of one chunk.

    types  the accumulators that a chunk leaves
    fills  how all accumulators begin
    body   the update, in a loop over the axis ``chunk``
    """

    lir: LinearIR
    loop: Loop
    chunk: str
    fills: list[Expression]
    types: dict[str, ValueType] = field(default_factory=dict)
    body: list[Expression] = field(default_factory=list)
    _scales: dict[str, list[str]] = field(default_factory=dict)
    _made: set[str] = field(default_factory=set)

    @staticmethod
    def of(lir: LinearIR, task: list[Statement], loop: Loop, chunk: str) -> Merge | None:
        """The merge of a loop in its task; None if it has no such form."""
        inside = [s for s in loop.body if isinstance(s, Expression)]
        around = [s for s in task if isinstance(s, Expression)]
        before = [s for s in task[: _position(task, loop)] if isinstance(s, Expression)]
        assigned = {e.output for e in inside if e.output is not None}
        begun = [e for e in before if e.output in assigned]
        left = {name for e in around for name in e.inputs if name in assigned}
        accumulators = {e.output for e in begun}
        simple = len(inside) == len(loop.body) and all(e.op == "fill" for e in begun)
        if not simple or not left <= accumulators:
            return None
        merge = Merge(lir, loop, chunk, [replace(e) for e in begun])
        for e in inside:
            if merge._is_scaling(e):
                merge._scales.setdefault(e.inputs[0], []).append(e.inputs[1])
        return merge if all(merge._follow(e) for e in inside) and merge.types else None

    def with_chunk(self, type: ValueType) -> ValueType:
        """The type of a value that every chunk has one of."""
        axes = tuple(axis for axis in type.axes if axis not in self.lir.lanes)
        lanes = tuple(axis for axis in type.axes if axis in self.lir.lanes)
        return ValueType(type.dtype, (*axes, self.chunk, *lanes))

    def _follow(self, e: Expression) -> bool:
        """Take over the next expression of the loop; False if it breaks the form."""
        if e.op in ("brgemm", "reduce") and self.loop.axis in e.over:
            return self._add_product(e) if e.op == "brgemm" else self._replace_reduction(e)
        if self.loop.axis in e.type.axes:
            return True
        if e.output is None or self.loop.axis in e.over or not self._is_update(e):
            return False
        self.body.append(self._renamed(e))
        return True

    @property
    def _accumulators(self) -> set[str]:
        return {e.output for e in self.fills if e.output is not None}

    def _renamed(self, e: Expression) -> Expression:
        """A row's value under another name: the loop's is of the last block of this chunk."""
        assert e.output is not None
        inputs = tuple(self._name(name) for name in e.inputs)
        return replace(e, output=self._name(e.output), inputs=inputs)

    def _name(self, name: str) -> str:
        made = {s.output for s in self.loop.body if isinstance(s, Expression)}
        return f"{name}.merged" if name in made - self._accumulators else name

    # Parts

    def _add_product(self, e: Expression) -> bool:
        """A product is accumulated by itself: now its sum over the chunk is added."""
        own = len(e.inputs) == 3 and e.inputs[2] == e.output
        if e.output is None or not own or not self._is_sound(e.output, e.type, 0.0):
            return False
        self._part(e, e.output, f"{e.output}.part", "sum")
        self.body.append(Expression("add", e.output, (e.output, f"{e.output}.part"), e.type))
        return True

    def _replace_reduction(self, e: Expression) -> bool:
        """The accumulator of a chunk is the part, if nothing but its update reads the part."""
        users = [u for u in self._expressions if e.output in u.inputs]
        monoid = MONOIDS[e.attrs["monoid"]]
        into = {u.inputs[0] for u in users} & {u.output for u in users}
        accumulator = next(iter(into & self._accumulators), None)
        pair = (accumulator, e.output)
        if accumulator is None or any((u.op, u.inputs) != (monoid.combine, pair) for u in users):
            return False
        if not self._is_sound(accumulator, e.type, monoid.identity):
            return False
        self._part(e, accumulator, self._name(e.output or ""), e.attrs["monoid"])
        return True

    def _is_sound(self, accumulator: str, type: ValueType, identity: float) -> bool:
        """Whether it begins with the identity and has one part, which is added after scaling."""
        begin = [(e.type, e.attrs["value"]) for e in self.fills if e.output == accumulator]
        own = [e for e in self._expressions if e.output == accumulator]
        updates = [e for e in own if accumulator in e.inputs]
        scalings = [self._is_scaling(e) for e in updates]
        in_turn = scalings == sorted(scalings, reverse=True)
        return begin == [(type, identity)] and accumulator not in self.types and in_turn

    def _part(self, e: Expression, accumulator: str, part: str, monoid: str) -> None:
        """Load what a chunk has left, scale it, and name it as the part of this chunk."""
        self.types[accumulator] = e.type
        type, value = self.with_chunk(e.type), f"{accumulator}.chunk"
        self.body.append(Expression("load", value, (f"{accumulator}.chunks",), type))
        for scale in self._scales.get(accumulator, ()):
            weighed = f"{value}.by.{scale}"
            self.body.append(Expression("mul", weighed, (value, self._weight(scale)), type))
            value = weighed
        attrs = {"monoid": monoid, "over": (self.chunk,)}
        self.body.append(Expression("horizon", part, (value,), e.type, attrs))

    # Scales

    def _is_update(self, e: Expression) -> bool:
        """Whether a row's value is a function of accumulators and parts, or scales one of them."""
        if e.output not in e.inputs:
            return True
        combines = any(e.inputs[1:] == (s.output,) for s in self._expressions if s.op == "reduce")
        return combines or self._is_scaling(e)

    def _is_scaling(self, e: Expression) -> bool:
        """Whether an accumulator is multiplied by a factor ``exp(x - max)``."""
        own = e.op == "mul" and e.inputs[0] == e.output and e.output in self._accumulators
        return own and self._shift(e.inputs[1]) is not None

    def _shift(self, scale: str) -> tuple[Expression, Expression] | None:
        """Exponential and difference of a factor ``exp(x - max)``, in which x is an accumulator."""
        exp = self._definition(scale)
        sub = self._definition(exp.inputs[0]) if exp and exp.op in EXPONENTIALS else None
        if exp is None or sub is None or sub.op != "sub" or sub.inputs[0] not in self._accumulators:
            return None
        return exp, sub

    def _weight(self, scale: str) -> str:
        """The factor that brings what a chunk has left to the common maximum."""
        found = self._shift(scale)
        assert found is not None, f"%{scale} is no factor of a common maximum"
        exp, sub = found
        moved, weight = f"{sub.output}.chunk", f"{scale}.chunk"
        if weight not in self._made:
            self._made.add(weight)
            type = self.with_chunk(sub.type)
            inputs = (f"{sub.inputs[0]}.chunk", self._name(sub.inputs[1]))
            self.body.append(Expression("sub", moved, inputs, type))
            self.body.append(Expression(exp.op, weight, (moved,), type, exp.attrs))
        return weight

    def _definition(self, name: str) -> Expression | None:
        """The expression of the loop that makes a value, if there is just one."""
        counts = Counter(e.output for e in self._expressions)
        found = (e for e in self._expressions if e.output == name and counts[name] == 1)
        return next(found, None)

    @property
    def _expressions(self) -> list[Expression]:
        return [s for s in self.loop.body if isinstance(s, Expression)]


def _position(task: list[Statement], loop: Loop) -> int:
    return next(i for i, s in enumerate(task) if s is loop)
