"""Candidates: the ways to compile a structure for a target, and the numbers that were tuned.

What the hardware is stands in ``target_machine.py``; what was measured to be good on it, here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

from snipjit.ir.schedule import Schedule
from snipjit.target.target_machine import TargetMachine


@dataclass(frozen=True)
class Candidate:
    """One way to compile a structure. Sizes count elements.

    task        most rows of a task
    panel       of what lies in lanes, or of rows, in a loop inside a task around register tiles
    columns     most columns of a task, where tasks have parts of them
    elements    of a task that has whole rows of features
    tasks       of fewer columns, down to one panel, if there would be fewer tasks than that
    block       of the streamed axis in a block
    chunk       of a streamed axis at least in a task of its own; 0: streams are not split
    depth       of a contracted axis in a block; 0: it is not blocked
    tile        of the register tile of a product, along axes that are not in its vectors
    vectors     of that tile, along columns: how many of these
    unroll      of a contracted axis in an iteration of a product
    held        columns of a product that tile registers hold at once, ...
    held_panel  ... and rows
    most_rows   it serves calls of at most so many rows where others serve more
    least_rows  with fewer rows calls go by columns instead
    layer       columns of a task of linear layers that go by rows or by columns
    beside      of linear layers that go by columns: rows of a weight that are read side by side,
                along which vectors go, ...
    layer_rows  ... and rows of x that are multiplied by them at once, by fewer if these are more
                than ``tile``
    near        elements of such rows that the nearest cache keeps: how many more go by columns
    packs       matrices [k][n] are packed, so that what a tile reads lies together
    direct      prepared weights of narrow types are converted as they are loaded, not once for all
                rows, in calls of at most so many
    ready       where weights are prepared and loaded as they are: most rows of a task, fewer as
                none share what is packed, ...
    ready_depth ... and of a contracted axis in a block
    """

    schedule: Schedule
    task: int
    panel: int
    columns: int
    block: int
    tile: int
    chunk: int = 0
    depth: int = 0
    vectors: int = 8
    unroll: int = 4
    held: int = 32
    held_panel: int = 4
    most_rows: int = 0
    least_rows: int = 0
    layer: int = 192
    beside: int = 0
    layer_rows: int = 0
    near: int = 0
    elements: int = 0
    packs: bool = True
    tasks: int = 0
    direct: int = 0
    ready: int = 0
    ready_depth: int = 0


TUNED: dict[tuple[str, Schedule], Candidate] = {}
"""By the name of a target: numbers that are not the usual ones."""


NODES: dict[tuple[str, str], int] = {("avx512", "matrices"): 1, ("avx2", "matrices"): 1}
"""By the name of a target and of what is compiled: calls of at most so many rows that PyTorch's own
nodes do better, where they are one fused attention (``streams``; none of those that were measured)
or a linear layer whose weight lies as [k][n] (``matrices``)."""


CHAIN_OPERATIONS, CHAIN_ELEMENTS = 3, 8192
"""A chain of fewer operations, of at most so many elements where these are known, PyTorch does as
fast: its calls cost less than ours."""


NATIVE: dict[str, tuple[str, ...]] = {"amx-bf16": ("bf16", "f16"), "avx512-bf16": ("bf16",)}
"""By the name of a target: element types of linear layers that stay with PyTorch. It multiplies
them by instructions of their own there, against which ours have not been measured."""


def candidate(target: TargetMachine, schedule: Schedule) -> Candidate:
    """The numbers of a schedule for a target."""
    return TUNED.get((target.name, schedule)) or usual(target, schedule)


def usual(target: TargetMachine, schedule: Schedule) -> Candidate:
    """What was good on the targets that were measured, by what these have."""
    many = target.registers >= 32
    tile = 8 if many else 4
    # Where a product is not added in the same instruction it needs a register.
    vectors = 3 if "fma" in target.features else 2
    panel = vectors * target.lanes
    common = Candidate(schedule, 0, panel, columns=8 * tile, block=128, tile=tile)
    if schedule is Schedule.ROWS:
        rows = replace(common, task=12 * target.lanes, held_panel=2 * target.lanes)
        # With no more than half of the lanes to fill sums along them are faster.
        least = max(6, target.lanes // 2 + 1)
        return replace(rows, least_rows=least, most_rows=12 * target.lanes)
    if schedule is Schedule.COLUMNS:
        few = 10 if target.tiles else 24 if many else 2 * target.lanes
        few_rows = replace(common, task=8, panel=4, block=512, chunk=512, most_rows=few)
        beside, together = (3, 12) if many else (4, 4)
        return replace(few_rows, layer=64, beside=beside, layer_rows=together, near=12 << 10)
    if schedule is Schedule.FEATURES:
        return replace(common, columns=1024, elements=1 << 15, vectors=4)
    tiles = replace(common, vectors=vectors, block=2 * panel, depth=512)
    if schedule is Schedule.OUTPUTS:
        ready = replace(tiles, ready=96, ready_depth=1024)
        return replace(ready, task=384, columns=4 * panel, least_rows=3, direct=4 * tile)
    return _of_matrices(target, tiles)


def _of_matrices(target: TargetMachine, tiles: Candidate) -> Candidate:
    """By blocks or by steps: panels are whole lines of memory, however few registers there are."""
    many = target.registers >= 32
    vectors, tile = (3, 8) if many else (4, 3) if "fma" in target.features else (4, 2)
    panel, few = vectors * target.lanes, 16 if many else 9
    both = replace(tiles, panel=panel, vectors=vectors, tile=tile, columns=384, tasks=4)
    if tiles.schedule is Schedule.STEPS:
        return replace(both, task=few, most_rows=few, depth=8, unroll=2, packs=False)
    return replace(both, task=96, most_rows=96, depth=32)


class Serves(NamedTuple):
    """A schedule, and the calls it serves: of at most so many rows, the product of some axes.

    Without axes it serves any. Without a schedule PyTorch's own nodes serve, if there are some.
    """

    schedule: Schedule | None
    axes: tuple[str, ...] = ()
    most: int = 0

    def suits(self, sizes: Mapping[str, int]) -> bool:
        """Whether it serves a call of these sizes."""
        return not self.axes or prod(sizes[axis] for axis in self.axes) <= self.most
