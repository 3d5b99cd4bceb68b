"""PrefetchNextTile: what a product reads from memory next is asked for while it multiplies."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Nest, Statement, expressions, is_kind
from snipjit.ir.loop_nest import streams
from snipjit.ir.regions import rewrite
from snipjit.passes.linear.linear_pass import LinearPass

NEAR = 32
"""Elements of the summed axis from what is read of a block to what is asked for: half a page."""

SHORT = 4000
"""Bytes of rows whose tile waits in a near cache until it is read; those of 4096 all begin in the
same place of it."""

SHORT_APART = 4096
"""The same where lanes are summed apart: three rows at once are no matter."""

ALONG = 256
"""Bytes of a longer row from what is read to what is asked for: some lines."""

ALONG_APART = 512
"""The same where lanes are summed apart, which reads a line of each row at once."""

ROWS_AHEAD = 8
"""The same of a matrix whose rows are summed."""

FEW_ROWS = 64
"""So many rows of a matrix wait in a cache: its rows may all be equal distances apart, and then
share few places of it."""


@dataclass(frozen=True)
class PrefetchNextTile(LinearPass):
    """In the loop that sums a tile, prefetch what the next tiles read of an input.

    A tile reads so many rows of a weight side by side, each once; the hardware follows a row only
    after its first lines, and rows are short: ask for the same part of the next tile's rows. Long
    ones would not wait in a near cache, where equal distances leave them few places: there the
    row's own next lines are asked for. Where an axis is streamed, what is read so lies in a cache:
    all panels of a task read it.

    Of a weight in blocks the first tile of a panel reads all and the others find it in a cache:
    together they ask for the next panel's, a part each, so that memory is as busy in the last tile
    as in the first. So they do where a panel packs a few rows of a matrix, which the next panel
    finds beside, or rows of a weight that lies across, where each tile asks for whole ones. In a
    block the hardware loses its way at the end of each page, so that the next
    lines are asked for too; of a matrix that is summed row by row, the next rows.

    Before:  for m step 8 { … ; for d step 4 { %w.tile = load %w : f32[m d] ; … fma … } }
    After:   for m step 8 { … ; for d step 4 { %w.tile = load %w : f32[m d] ; … fma …
                                               prefetch %w {ahead=m} : f32[m d] } }
    Before:  for n step 48 { for m step 8 { … ; for d step 4 { %w.tile = load %w … } } }
    After:   for n step 48 { claim {axes=(n)} ; … prefetch %w {ahead=d, by=8}
                             prefetch %w {ahead=n, along=m} … }

    Behind the last panel of a task comes the first one of the next task, which the task claims
    before it begins with that panel: no sooner, since another worker might be done first. Where
    the sum goes by blocks (``axes=(d, n)``), behind the last panel comes the first of the next one.
    A few rows of a matrix are too little for that: they are multiplied before it is known.
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Prefetch in every loop that sums a tile."""
        if streams(lir):
            return lir

        def ask(body: list[Statement], loops: Nest) -> list[Statement]:
            asking = [_asking(lir, s, loops) if _is_sum(s, loops) else s for s in body]
            return [*_claims(lir, asking, loops), *asking]

        lir.body = rewrite(lir.body, ask)
        return lir


def _is_sum(statement: Statement, loops: Nest) -> bool:
    """Whether a statement is a loop that sums products, in a loop over tiles."""
    if not (isinstance(statement, Loop) and loops and is_kind(loops[-1], "for")):
        return False
    return any(isinstance(e, Expression) and e.op == "fma" for e in statement.body)


def _asking(lir: LinearIR, statement: Statement, loops: Nest) -> Statement:
    assert isinstance(statement, Loop)
    more = []
    for e in (e for e in statement.body if isinstance(e, Expression) and e.op == "load"):
        if _is_by_element(lir, e.inputs[0], loops[-1].axis, statement.axis):
            more.append(_ask_rows(lir, e, statement, loops[-1].axis))
        if _is_by_rows(lir, e.inputs[0], statement.axis):
            more.append(_prefetch(e, ahead=statement.axis, by=max(ROWS_AHEAD // statement.step, 1)))
        if _is_next_panel(lir, e, loops):
            more.append(_prefetch(e, ahead=statement.axis, by=NEAR // statement.step or 1))
            more.append(_prefetch(e, ahead=loops[-2].axis, along=loops[-1].axis))
        if (packed := _packed(lir, e, statement.axis, loops)) is not None:
            more.append(_prefetch(packed, ahead=loops[-2].axis, along=loops[-1].axis))
        for load in _loads_of(lir, e.inputs[0], loops[-1]):
            if _is_by_element(lir, load.inputs[0], loops[-1].axis, statement.axis):
                more.append(_prefetch(load, ahead=loops[-1].axis))
    pieces = [replace(piece, body=[*piece.body, *more]) for piece in statement.pieces]
    return replace(statement, pieces=pieces)


def _ask_rows(lir: LinearIR, load: Expression, statement: Loop, tiles: str) -> Expression:
    """Ask for the next tile's rows, if they are short, or along these."""
    summed, bytes = statement.axis, lir.tensors[load.inputs[0]].element.bytes
    plan = lir.plans.get(summed)
    length = (plan.block if plan is not None else 0) or lir.axes[summed]
    apart = any("apart" in e.attrs for e in expressions(statement.body))
    short, distance = (SHORT_APART, ALONG_APART) if apart else (SHORT, ALONG)
    if length is None or length * bytes <= short:
        return _prefetch(load, ahead=tiles)
    return _prefetch(load, ahead=summed, by=distance // (bytes * statement.step) or 1)


def _prefetch(load: Expression, **attrs: object) -> Expression:
    type = replace(load.type, dtype=load.type.element.register, pairs=None)
    return Expression("prefetch", None, load.inputs, type, attrs)


def _claims(lir: LinearIR, body: list[Statement], loops: Nest) -> list[Statement]:
    """The claim of the next task, in front of tiles that ask for the next panel."""
    inside = [loop.axis for loop in loops if is_kind(loop, "for")]
    shared = (e for e in expressions(body) if "along" in e.attrs)
    shared = (e for e in shared if lir.tensors[e.inputs[0]].has_panels(e.attrs["ahead"]))
    asked = {e.attrs["ahead"] for e in shared}
    if not inside or asked != {inside[-1]}:
        return []
    return [Expression("claim", None, (), attrs={"axes": tuple(inside)})]


def _is_next_panel(lir: LinearIR, e: Expression, loops: Nest) -> bool:
    """Whether all tiles of a panel read blocks that were prepared, which the next ones follow."""
    tensor = lir.tensors.get(e.inputs[0])
    if tensor is None or tensor.block is None or not _is_shared(lir, e, loops):
        return False
    return tensor.block[0] == loops[-2].axis


def _is_across(lir: LinearIR, e: Expression, loops: Nest) -> bool:
    """Whether a panel of columns packs rows of a tensor, which those of the next panel follow.

    Each task must come to a panel, where it claims the next one: sums are known not to be empty.
    """
    tensor, panel = lir.tensors[e.inputs[0]], loops[-2]
    blocks = [loop.axis for loop in loops[:-2] if not loop.parallel]
    if any(map(tensor.is_index, tensor.axes)) or not all(lir.axes[axis] for axis in blocks):
        return False
    is_across = lir.vector_axis(tensor.axes) == panel.axis != tensor.unit_axis
    return is_across and _panels(lir) == [panel] and _is_shared(lir, e, loops)


def _is_shared(lir: LinearIR, e: Expression, loops: Nest) -> bool:
    """Whether all tiles of a panel read the same of a tensor, and tiles of the next one go on."""
    if len(loops) < 2:
        return False
    panel, tile = loops[-2:]
    blocks = [loop.axis for loop in loops[:-2] if not loop.parallel]
    if not is_kind(panel, "for") or not {*blocks} <= {*e.type.axes} - {panel.axis}:
        return False
    return len(blocks) < 2 and tile.axis not in lir.tensors[e.inputs[0]].axes


def _panels(lir: LinearIR) -> list[Loop]:
    """The loops over columns in which products are summed, around others."""
    columns = {axis for axis, plan in lir.plans.items() if plan.role == "columns" and plan.panel}
    return [
        statement
        for statement, _ in lir.walk()
        if is_kind(statement, "for")
        and statement.axis in columns
        and any(e.op == "fma" for e in expressions(statement.body))
    ]


def _packed(lir: LinearIR, e: Expression, summed: str, loops: Nest) -> Expression | None:
    """What has packed a buffer for all tiles of a panel, if the next panel's is to be asked for."""
    if len(loops) < 2:
        return None
    panel = loops[-2]
    for load in _loads_of(lir, e.inputs[0], panel):
        tensor = lir.tensors[load.inputs[0]]
        if _is_next_panel(lir, load, loops) or _is_across(lir, load, loops):
            return load
        if not _is_by_rows(lir, tensor.name, summed):
            continue
        if tensor.unit_axis == panel.axis and loops[-1].axis not in tensor.axes:
            return load
    return None


def _loads_of(lir: LinearIR, buffer: str, loop: Loop) -> list[Expression]:
    """What a loop loads of tensors to fill a buffer."""
    moves = expressions(loop.body)
    values = [e.inputs[1] for e in moves if e.op == "store" and e.inputs[0] == buffer]
    loads = (e for e in moves if e.op == "load" and e.output in values)
    return [e for e in loads if e.inputs[0] in lir.tensors]


def _is_by_rows(lir: LinearIR, name: str, summed: str) -> bool:
    """Whether a tensor has vectors in memory, each of another row, few of which are summed."""
    tensor, plan = lir.tensors.get(name), lir.plans.get(summed)
    if plan is None or not 0 < plan.block <= FEW_ROWS:
        return False
    if tensor is None or tensor.block is not None or any(map(tensor.is_index, tensor.axes)):
        return False
    in_vectors = tensor.unit_axis is not None and lir.vector_axis(tensor.axes) == tensor.unit_axis
    return in_vectors and summed in tensor.axes and summed != tensor.unit_axis


def _is_by_element(lir: LinearIR, name: str, axis: str, summed: str) -> bool:
    """Whether rows of a tensor, along the summed axis, are read without lanes."""
    tensor = lir.tensors.get(name)
    if tensor is None or axis not in tensor.axes or tensor.unit_axis != summed:
        return False
    return lir.vector_axis(tensor.axes) in (None, summed) and not any(
        map(tensor.is_index, tensor.axes)
    )
