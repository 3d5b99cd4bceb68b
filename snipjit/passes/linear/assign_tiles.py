"""AssignTiles: which tile registers hold what, by a linear scan over live intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Statement
from snipjit.ir.regions import put
from snipjit.ir.tensors import Buffer
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.target.target_machine import TargetMachine

Counts = dict[str, int]
"""Elements of each axis in a tile."""


@dataclass(frozen=True)
class Interval:
    """A value that takes some registers from its definition to its last use (positions)."""

    value: str
    count: int
    first: int
    last: int


def linear_scan(intervals: Iterable[Interval], registers: int) -> dict[str, tuple[int, ...]] | None:
    """The registers of each value; None if there are not enough. None is moved or spilled.

    Poletto and Sarkar, Linear Scan Register Allocation, TOPLAS 21(5), 1999.
    """
    free, active = list(range(registers)), list[Interval]()
    assigned: dict[str, tuple[int, ...]] = {}
    for interval in sorted(intervals, key=lambda interval: interval.first):
        for ended in [one for one in active if one.last < interval.first]:
            active.remove(ended)
            free = sorted([*free, *assigned[ended.value]])
        if len(free) < interval.count:
            return None
        assigned[interval.value] = tuple(free[: interval.count])
        free = free[interval.count :]
        active.append(interval)
    return assigned


@dataclass(frozen=True)
class AssignTiles(LinearPass):
    """Give the products in tiles their registers, in every piece whose tile fills some.

    A tile register holds 16 rows of 16 pairs or sums. The result must begin with zero or in a
    buffer and go to a buffer, with no other loop in between, rows of one factor lie one after
    another in memory, and the other factor lie in a buffer of pairs. What does not fit stays in
    vectors.

    Before:  %s = fill {value=0.0} : f32[n m]                        inside n step 32, m step 32
             for d step 32 { %q = load %q.buffer ; %k = load %k0
                             %s = fma %k %q %s {over=(d), pairs=d, tiles=true} }
             store %s.buffer %s
    After:   %s = fill {value=0.0, registers=(0, 1, 2, 3)} : f32[n m]
             for d step 32 { %q = load %q.buffer {registers=(4, 5)}
                             %k = load %k0 {registers=(6, 7)}
                             %s = fma %k %q %s {…, registers=(0, 1, 2, 3)} }
             store %s.buffer %s {registers=(0, 1, 2, 3)}
    """

    target: TargetMachine

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Assign in every body."""
        if self.target.tiles:
            self._descend(lir, lir.buffers(), lir.body, {})
        return lir

    def _descend(
        self, lir: LinearIR, buffers: dict[str, Buffer], body: list[Statement], counts: Counts
    ) -> None:
        for position, statement in enumerate(body):
            if not isinstance(statement, Loop):
                continue
            for piece in statement.pieces:
                inner = {**counts, statement.axis: piece.step}
                self._descend(lir, buffers, piece.body, inner)
                if len(statement.pieces) == 1 and _product(piece.body) is not None:
                    self._assign(_Nest(lir, buffers, body, position, piece.body, inner))

    def _assign(self, nest: _Nest) -> None:
        side = self.target.lanes
        if not nest.fits(side):
            return
        rows, columns = nest.rows // side, nest.columns // side
        begin, a, b, product, end = nest.parts()
        # Positions: where the result begins, the loads, the product, where the result ends.
        order = [e for e in nest.inside if e.op == "load"]
        intervals = [
            Interval("c", rows * columns, 0, 4),
            Interval("a", rows, 1 + order.index(a), 3),
            Interval("b", columns, 1 + order.index(b), 3),
        ]
        if (found := linear_scan(intervals, self.target.tiles)) is None:
            return
        for body, e, value in (
            *((nest.body, e, "c") for e in (begin, end)),
            *((nest.inner, e, value) for e, value in ((a, "a"), (b, "b"), (product, "c"))),
        ):
            put(body, e, e.with_attrs(registers=found[value]))


def _product(body: list[Statement]) -> Expression | None:
    """The product in tiles that a body consists of, with its loads."""
    found = [s for s in body if isinstance(s, Expression) and "tiles" in s.attrs]
    others = [s for s in body if not (isinstance(s, Expression) and s.op in ("load", "fma"))]
    return found[0] if len(found) == 1 and len(body) == 3 and not others else None


@dataclass(frozen=True)
class _Nest:
    """A loop that sums a product, at its position in the body around it."""

    lir: LinearIR
    buffers: dict[str, Buffer]
    body: list[Statement]
    position: int
    inner: list[Statement]
    counts: Counts

    @property
    def inside(self) -> list[Expression]:
        return [s for s in self.inner if isinstance(s, Expression)]

    @property
    def loads(self) -> dict[str | None, Expression]:
        return {e.output: e for e in self.inside if e.op == "load"}

    @property
    def product(self) -> Expression:
        found = _product(self.inner)
        assert found is not None
        return found

    @property
    def lanes(self) -> str | None:
        """The axis in lanes of the result."""
        return self.lir.vector_axis(self.product.type.axes)

    @property
    def columns(self) -> int:
        return self.counts.get(self.lanes or "", 1)

    @property
    def rows(self) -> int:
        return prod(self.counts[axis] for axis in self.row_axes)

    @property
    def row_axes(self) -> list[str]:
        """The axes of the result of which the tile has several elements, lanes aside."""
        others = (a for a in self.product.type.axes if a != self.lanes)
        return [axis for axis in others if self.counts.get(axis, 1) > 1]

    def parts(self) -> tuple[Expression, Expression, Expression, Expression, Expression]:
        """Where the result begins, the factor of rows, the one of columns, the product, the end."""
        (begin,), (end,) = self._begins(), self._ends()
        a, b = (self.loads[name] for name in self.product.inputs[:2])
        return begin, a, b, self.product, end

    def fits(self, side: int) -> bool:
        """Whether registers can hold the operands, each of ``side`` rows of ``side`` elements."""
        if len(self._begins()) != 1 or len(self._ends()) != 1 or len(self._uses(self.body)) != 2:
            return False
        if not self._is_alone():
            return False
        whole = not self.rows % side and not self.columns % side and len(self.row_axes) == 1
        depth = [self.counts[axis] for axis in self.product.over]
        loaded = {*self.product.inputs[:2]} <= {*self.loads}
        if not whole or depth != [2 * side] or not loaded:
            return False
        _, a, b, _, _ = self.parts()
        return self._has_rows(a) and self._has_columns(b)

    def _is_alone(self) -> bool:
        """Whether no other loop runs while the result is alive: it may fill registers too."""
        first, last = (
            next(i for i, s in enumerate(self.body) if s is e)
            for e in (*self._begins(), *self._ends())
        )
        return sum(isinstance(s, Loop) for s in self.body[first:last]) == 1

    def _has_rows(self, load: Expression) -> bool:
        """Whether the summed axis lies innermost in memory, in pairs."""
        (axis,), name = self.product.over, load.inputs[0]
        buffer = self.buffers.get(name)
        if buffer is None:
            return self.lir.tensors[name].unit_axis == axis
        return buffer.axes[-1] == axis and buffer.pairs == axis

    def _has_columns(self, load: Expression) -> bool:
        """Whether pairs of the summed axis lie side by side, one for each lane."""
        (axis,), lanes = self.product.over, self.lanes
        buffer = self.buffers.get(load.inputs[0])
        return buffer is not None and buffer.pairs == axis and buffer.axes[-1] == lanes

    def _uses(self, body: list[Statement]) -> list[Expression]:
        """All in a part of the body around that has to do with the result."""
        name = self.product.output
        found = [s for s in body if isinstance(s, Expression)]
        return [e for e in found if name == e.output or name in e.inputs]

    def _begins(self) -> list[Expression]:
        """A fill with zero or a load from a buffer, in front of the loop."""
        before = self._uses(self.body[: self.position])
        return [e for e in before if e.attrs.get("value") == 0 or self._is_move(e, "load")]

    def _ends(self) -> list[Expression]:
        """A store to a buffer, behind the loop."""
        after = self._uses(self.body[self.position + 1 :])
        return [e for e in after if self._is_move(e, "store")]

    def _is_move(self, e: Expression, op: str) -> bool:
        buffer = self.buffers.get(e.inputs[0]) if e.op == op else None
        return isinstance(buffer, Buffer) and buffer.axes[-1] == self.lanes
