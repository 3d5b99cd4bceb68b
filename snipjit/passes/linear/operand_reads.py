"""Where the factors of products are read: a part of ChooseSchedule."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.loop_nest import streams
from snipjit.ir.reach import Reach
from snipjit.ir.schedule import Home
from snipjit.ir.tensors import Tensor

SEVERAL = 3
"""Tiles of a task for which it pays to convert what all of them read into a buffer."""


def choose_reads(lir: LinearIR, packs: bool) -> None:
    """Say of each factor of each product whether it is read in place, or packed and how often.

    An input whose lanes axis is not innermost in memory is packed once a task, or once a block, if
    blocks have but a part of it. One of a narrow type that is read element by element is converted
    once a block, for all panels of rows, or brought into pairs, unless these are neighbours in
    memory; what is innermost there becomes a lanes axis, so that whole vectors are loaded. Where
    nothing is streamed it is converted once a tile, from a near cache; once a task, where several
    of its tiles read the same. Only what has a bounded size is packed: a dynamic axis would need a
    buffer that grows. Products in tiles have all their inputs packed, or are not in tiles: where
    two of them lie across each other one is left in place.

    A matrix [k][n] that nothing streams has whole vectors in memory, but each of another row: all
    tiles of a panel read it, and it has no place in a near cache. It is packed if the candidate
    ``packs``.
    """
    reads = _Reads(lir, lir.lanes, packs)
    chosen = [reads.choose(e) if e.op == "brgemm" else e for e in lir.expressions()]
    lir.body = [replace(e, type=replace(e.type, axes=lir.sort_axes(e.type.axes))) for e in chosen]


@dataclass
class _Reads:
    """The decisions so far.

    lanes   the lanes axes that the kernel had before
    packs   whether matrices [k][n] are packed
    loaded  the inputs without lanes that are packed, along their innermost axes
    in_vectors  the products in tiles that cannot stay there
    """

    lir: LinearIR
    lanes: tuple[str, ...]
    packs: bool
    loaded: list[Tensor] = field(default_factory=list)
    in_vectors: set[str | None] = field(default_factory=set)

    def choose(self, e: Expression) -> Expression:
        """A product with where its factors are read; in vectors, where one cannot be packed."""
        homes = tuple(self.home(e, name) for name in e.inputs[:2])
        made = e.without("tiles") if e.output in self.in_vectors else e
        return made.with_attrs(read=homes)

    def home(self, e: Expression, name: str) -> Home:
        """Where a factor is read."""
        tensor = self.lir.tensors.get(name)
        if tensor is None:
            return "place"
        if tensor.block is not None and not (tensor.element.is_narrow and self.packs):
            return "prepared"
        reach, tiles = Reach.of(self.lir, e), "tiles" in e.attrs and e.output not in self.in_vectors
        unit, in_lanes = tensor.unit_axis, bool({*self.lanes} & {*tensor.axes})
        across = in_lanes and self.lir.vector_axis(tensor.axes) != unit
        if across and reach.is_blocked(tensor.axes) and reach.is_bounded(tensor.axes):
            return "block"
        apart = (self.packs and self.has_rows_apart(e, tensor)) or tensor.block is not None
        apart = apart or self.is_widened(e, tensor)
        if apart and reach.is_blocked(tensor.axes):
            return "block"
        if in_lanes and replace(reach, streams=False).is_bounded(tensor.axes):
            return "task" if tiles or across or apart else "place"
        direct = (None, *reach.task_axes, e.attrs.get("pairs"))
        whole = len(e.over) == 1 or streams(self.lir)  # a tile's loop packs along one axis
        pays = not in_lanes and tensor.element.is_narrow and unit not in direct and whole
        if not (tiles or pays) or not reach.is_bounded(tensor.axes):
            return "place"
        if in_lanes or self.add_lanes(tensor):
            return "block" if tiles or streams(self.lir) else "tile"
        self.in_vectors.add(e.output)
        return "place"

    def has_rows_apart(self, e: Expression, tensor: Tensor) -> bool:
        """Whether a product sums over rows of a matrix whose columns are in the result's lanes."""
        columns = self.lir.vector_axis(e.type.axes)
        apart = tensor.unit_axis == columns and bool({*e.over} & {*tensor.axes})
        return apart and not streams(self.lir)

    def is_widened(self, e: Expression, tensor: Tensor) -> bool:
        """Whether several tiles of a task read the same elements of a narrow type, not in lanes of
        the result: a vector at a time they are converted much faster."""
        columns = self.lir.vector_axis(e.type.axes)
        if not tensor.element.is_narrow or columns in tensor.axes or streams(self.lir):
            return False
        others = (self.lir.plans[axis] for axis in e.type.axes if axis not in tensor.axes)
        return any(not plan.task or plan.task >= SEVERAL * max(plan.panel, 1) for plan in others)

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
