"""FuseLoops: tile loops around Expressions, one loop for all that can share it."""

from __future__ import annotations

from dataclasses import dataclass, field

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Piece, Statement
from snipjit.ir.loop_nest import in_vectors, panel_axes, streams_whole
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.passes.linear.tile_products import products_in_tiles

ELEMENTWISE_ROWS = 4
"""Rows of a tile without a product: enough independent work, a quarter of the code."""

ELEMENTWISE_VECTORS = 2
"""The same where the rows are vectors of columns."""


@dataclass(frozen=True)
class FuseLoops(LinearPass):
    """Put each Expression into loops over its own axes; neighbours with the same axes share them.

    An Expression may join an earlier loop over its axes if everything it reads is ready there: a
    value of the same iteration is, a sum that the loop is still building is not. A product in tiles
    has its loops to itself: what it leaves in tile registers is read from memory. Its rows go on
    beyond the end. Where what is streamed has no blocks (``MarkLoops``), each level of reductions
    has loops of its own, so that what a level computes again need not be kept from the one before.

    Before:  %s = brgemm %k %q {over=(d)} : f32[n m]
             %t = mul %s %scale : f32[n m]
             %x = reduce %t {monoid=max, over=(n)} : f32[m]
             %c = sub %t %x : f32[n m]
    After:   for n step 8 { %s = brgemm … ; %t = mul … ; %x = reduce … }
             for n step 4 { %c = sub %t %x }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Group the Expressions of every body."""
        self._descend(lir, lir.body, {})
        return lir

    def _descend(self, lir: LinearIR, body: list[Statement], blocks: dict[str, int]) -> None:
        """``blocks``: of the axes with loops around, how many elements there are; 1 for tiles."""
        result: list[Statement] = []
        run: list[Expression] = []
        for statement in body:
            if isinstance(statement, Expression):
                run.append(statement)
                continue
            result += self._group(lir, run, blocks)
            run = []
            result.append(statement)
            if isinstance(statement, Loop):
                axis, step = statement.axis, statement.step
                if axis in panel_axes(lir) and not statement.parallel:
                    step = 1
                inner = {**blocks, axis: min(step, blocks.get(axis, step))}
                for piece in statement.pieces:
                    self._descend(lir, piece.body, inner)
        body[:] = result + self._group(lir, run, blocks)

    def _group(
        self, lir: LinearIR, run: list[Expression], blocks: dict[str, int]
    ) -> list[Statement]:
        tiled = {axis for axis, step in blocks.items() if step == 1}
        in_order = [(e, 0) for e in run]
        if streams_whole(lir):
            in_order = _by_levels(lir, run)
        elif not any(e.over for e in lir.expressions()):  # what all iterations share comes first
            in_order.sort(key=lambda entry: bool(_tile_axes(lir, entry[0], tiled)))
        groups: list[_Group] = []
        for e, level in in_order:
            axes = _tile_axes(lir, e, tiled)
            ready = max([0, *(i + g.delay(e) for i, g in enumerate(groups) if g.touches(e))])
            alone = "tiles" in e.attrs
            alike = (g for g in groups[ready:] if (g.axes, g.level) == (axes, level))
            open_to_all = (g for g in alike if not g.alone)
            if (home := None if alone else next(open_to_all, None)) is None:
                groups.append(home := _Group(axes, level))
            home.body.append(e)
        return [statement for group in groups for statement in self._loops(lir, group, blocks)]

    def _loops(self, lir: LinearIR, group: _Group, blocks: dict[str, int]) -> list[Statement]:
        body: list[Statement] = list(group.body)
        for depth, axis in enumerate(reversed(group.axes)):
            step = self._outer_step(lir, group, axis)
            if depth == 0 or (streams_whole(lir) and in_vectors(lir, axis, group.body)):
                step = self._step(lir, group, axis, blocks.get(axis))
            body = [Loop(axis, [Piece(step, body, masked=group.alone and depth == 0)])]
        return body

    def _step(self, lir: LinearIR, group: _Group, axis: str, block: int | None) -> int:
        if in_vectors(lir, axis, group.body):
            return self._columns(lir, group, axis, block)
        if any(e.op == "brgemm" for e in group.body):
            plan = lir.plans[axis]
            return plan.held if group.alone else plan.tile
        if any(_is_transposed(lir, e, axis) for e in group.body):
            return lir.width * (2 if group.has_pairs(axis) else 1)
        return ELEMENTWISE_ROWS

    def _outer_step(self, lir: LinearIR, group: _Group, axis: str) -> int:
        """One element, two of pairs; of rows that tiles take several, or all pairs of one.

        What changes places with lanes is as long as they are.
        """
        if self._are_rows_of_tiles(lir, group):
            return 2 * lir.width if group.has_pairs(axis) else ELEMENTWISE_ROWS
        if any(_is_transposed(lir, e, axis) for e in group.body):
            return lir.width * (2 if group.has_pairs(axis) else 1)
        return 2 if group.has_pairs(axis) else 1

    def _are_rows_of_tiles(self, lir: LinearIR, group: _Group) -> bool:
        made = {e.output for e in group.body}
        products = products_in_tiles(lir)
        factors = {name for e in products for name in e.inputs[:2]}
        lanes = {lir.vector_axis(e.type.axes) for e in products}
        in_lanes = any(lanes.intersection(e.type.axes) for e in group.body)
        return bool(made & factors) and not in_lanes

    def _columns(self, lir: LinearIR, group: _Group, axis: str, block: int | None) -> int:
        """Elements of whole vectors: one of sums across lanes, more of anything else.

        A block is whole tiles: buffers have room for no more.
        """
        vectors, lanes = (
            1 if self._are_rows_of_tiles(lir, group) else ELEMENTWISE_VECTORS,
            lir.width,
        )
        products = [e for e in group.body if e.op == "brgemm"]
        if not any(e.op == "brgemm" for e in lir.expressions()):
            vectors = lir.plans[axis].vectors
        elif products:
            across = any(lir.vector_axis((*e.type.axes, *e.over)) in e.over for e in products)
            vectors = 1 if across else lir.plans[axis].vectors
        if group.has_pairs(axis):
            lanes, vectors = 2 * lanes, max(vectors // 2, 1)
        size = block or lir.axes[axis]
        most = vectors if size is None else min(vectors, -(-size // lanes))
        whole = (n for n in range(most, 1, -1) if not (block or 0) % (lanes * n))
        return lanes * next(whole, 1)


@dataclass
class _Group:
    """Expressions that share one nest of tile loops."""

    axes: tuple[str, ...]
    level: int = 0
    body: list[Expression] = field(default_factory=list)

    @property
    def alone(self) -> bool:
        """Whether nothing may join: a product in tiles."""
        return any("tiles" in e.attrs for e in self.body)

    def has_pairs(self, axis: str) -> bool:
        """Whether a value holds pairs along an axis."""
        return any(e.type.pairs == axis for e in self.body)

    def touches(self, e: Expression) -> bool:
        """Whether ``e`` must not run before this group: it reads or writes what the group does."""
        names = {e.output, *e.inputs}
        return any(
            other.output in names or (e.output is not None and e.output in other.inputs)
            for other in self.body
            if other.output is not None
        )

    def delay(self, e: Expression) -> int:
        """1 if ``e`` must wait for the end of this group's loops, 0 if it can join them."""
        read = [other for other in self.body if other.output in e.inputs]
        return int(self.alone or any(_unfinished(other, self.axes) for other in read))


def _by_levels(lir: LinearIR, run: list[Expression]) -> list[tuple[Expression, int]]:
    """The Expressions level by level, in each first those that have the fewest streamed axes."""
    streams = {axis for axis, plan in lir.plans.items() if plan.role == "stream"}
    found = [
        (level, len(streams.intersection((*e.type.axes, *e.over))), number)
        for number, (e, level) in enumerate(zip(run, _levels(run), strict=True))
    ]
    return [(run[number], level) for level, _, number in sorted(found)]


def _levels(run: list[Expression]) -> list[int]:
    """How many reductions must be finished before each Expression, or what first reads it."""
    found: dict[str, int] = {}
    own: list[int] = []
    over = {e.output for e in run if e.over}
    for e in run:
        own.append(max((found.get(n, 0) + (n in over) for n in e.inputs), default=0))
        found[e.output or ""] = own[-1]
    late: dict[str, int] = {}
    for number in range(len(run) - 1, -1, -1):
        e = run[number]
        if not e.over and e.output in late:
            own[number] = max(own[number], late[e.output])
        for name in e.inputs:
            late[name] = min(late.get(name, own[number]), own[number])
    return own


def _unfinished(e: Expression, axes: tuple[str, ...]) -> bool:
    """Whether a loop over ``axes`` is still building the value of ``e``."""
    return any(axis in axes for axis in e.over) or not set(axes) <= set(e.type.axes)


def _tile_axes(lir: LinearIR, e: Expression, tiled: set[str]) -> tuple[str, ...]:
    over = {*e.over} - tiled if e.op == "reduce" else set()
    if streams_whole(lir):  # sums are in registers: what they go over is inside what they make
        axes = ({*e.type.axes} | over) - tiled
        inner = {axis for axis in axes if lir.plans[axis].role == "stream"}
        return (*lir.sort_axes(axes - inner), *lir.sort_axes(inner))
    return (*lir.sort_axes({*e.type.axes} - tiled), *lir.sort_axes(over))


def _is_transposed(lir: LinearIR, e: Expression, axis: str) -> bool:
    """Whether ``e`` moves between lanes and a tensor whose innermost axis is ``axis``."""
    tensors = [lir.tensors[name] for name in e.inputs if name in lir.tensors]
    return any(t.unit_axis == axis and lir.vector_axis(t.axes) not in (None, axis) for t in tensors)
