"""Schedule: what a kernel does with its axes, decided once and obeyed by every pass after it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import Literal, get_args


class Schedule(Enum):
    """What lies in lanes. A structure may have several schedules; each call takes what suits it.

    ROWS     rows: nothing is ever combined across lanes. What is shared by rows is read element by
             element. For many rows.
    COLUMNS  whatever is summed away or makes columns: every load of a streamed input serves all
             rows of a task, and is used once for each. For few rows.
    OUTPUTS  whatever a product makes: what is shared by rows is packed, for many of them.
    BLOCKS   the same, of matrices [k][n]: a few of their rows are packed at a time, and multiplied
             by all of a task, whose sums lie in a buffer. For fewer rows.
    STEPS    the same with still fewer at a time, read where they lie, in the order of memory. For
             the fewest rows.
    FEATURES what is innermost in memory; rows come one after another. For what has no product.
    """

    ROWS = "rows"
    COLUMNS = "columns"
    OUTPUTS = "outputs"
    BLOCKS = "blocks"
    STEPS = "steps"
    FEATURES = "features"

    @property
    def by_outputs(self) -> bool:
        """Whether what a product makes lies in lanes."""
        return self in (Schedule.OUTPUTS, Schedule.BLOCKS, Schedule.STEPS)


SYNTHETIC_LANES = "lane"
"""The lanes axis, of size 1, of a kernel without any other: it is scalar."""

Role = Literal["batch", "rows", "columns", "stream", "contraction", "lanes"]


OF_PRODUCTS = (Schedule.ROWS, Schedule.COLUMNS, Schedule.OUTPUTS)
"""Those that anything has, also if it multiplies."""


@dataclass(frozen=True)
class AxisPlan:
    """What a kernel does with one axis. Sizes count elements; without one there is no such loop.

    role    ``batch``: kept to the end, one element a task; ``rows``: kept, and what a task has a
            block of, because its elements share what is streamed; ``columns``: only results have
            it; ``stream``: values carry it and reductions remove it, and it is never held whole;
            ``contraction``: summed inside products, or a further axis that is reduced; ``lanes``:
            it numbers the lanes in which parts of a reduction are kept until its loop has ended
    task    of an iteration of the parallel loop
    chunk   at least, of an iteration of the parallel loop if the stream is split among tasks
    block   of an iteration of the loop that streams; without one each tile is a part of its own
    panel   of an iteration of the loop inside a task, around register tiles
    tile    of the register tile of a product whose result has the axis
    vectors of that tile, where the axis lies in its vectors: how many of these
    unroll  of an iteration of a product that sums over the axis
    held    in place of panel and tile where products are in tile registers
    strip   of an iteration of the loop inside a task around all that is streamed; a task of such
            axes, several of which may be whole, then counts elements of all that is in it
    """

    role: Role
    task: int = 0
    chunk: int = 0
    block: int = 0
    panel: int = 0
    tile: int = 0
    vectors: int = 0
    unroll: int = 0
    held: int = 0
    strip: int = 0

    @property
    def sizes(self) -> dict[str, int]:
        """Every size there is, by its name."""
        return {name: getattr(self, name) for name in SIZES if getattr(self, name)}


Home = Literal["place", "task", "block", "tile", "prepared"]
"""Where a factor of a product is read: where it lies, packed once a task, a block or a register
tile, or in the blocks in which it was prepared."""

HOMES: tuple[Home, ...] = get_args(Home)
ROLES: tuple[Role, ...] = get_args(Role)
SIZES = tuple(field.name for field in fields(AxisPlan) if field.name != "role")
