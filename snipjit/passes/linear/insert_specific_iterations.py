"""InsertSpecificIterations: main bodies and tails, so that every tile has a known size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import lcm

from snipjit.ir.expression import MOVES, Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Nest, Piece, Statement, expressions, is_kind
from snipjit.ir.loop_nest import holds_pairs, in_vectors, is_block_loop, streams
from snipjit.ir.regions import copies, rewrite
from snipjit.ir.tensors import Buffer
from snipjit.passes.linear.linear_pass import LinearPass

MOST_ROWS = 12
"""Rows of a tile that are read side by side, whatever number of accumulators there are: each is a
stream of its own, and rows of a round size share few places of a cache."""


@dataclass(frozen=True)
class InsertSpecificIterations(LinearPass):
    """Expand tile loops into pieces of known size, so that emission meets no remainder.

    what a loop goes over       its size unknown                   its size static
    rows (not in vectors)       main, then halves (4, 2, 1)        main, the halves it needs
    ... of products alone       even, every number of rows         (likewise)
    lanes, blocks of a task     masked main, one masked vector     (blocks are of unknown size)
    ... products of pairs       masked, every number of vectors    (likewise)
    ... products alone          masked, every number of vectors    (likewise)
    panels of products alone    main, then every number of rows    (likewise)
    lanes, otherwise            masked main                        main, the rest, masked if ragged
    rows of tile registers      masked main, one register          those of the two it needs
    sums in tile registers      main: buffers are padded           main

    Of halves each runs at most once. Tiles of products alone are of nearly equal size: each of them
    reads the other factor anew. Masked pieces run as often as they fit, the last one while
    anything remains: a body that needs no mask would save nothing that pays for its code. What
    needs no whole panel goes on vector by vector; products of pairs take longer, so that more of
    them must be under way, and the rest gets one body of as many vectors as hold it. So do panels
    of products alone, where fewer vectors leave accumulators for more of the other axis.

    Before:  for m step 48 { for n step 8 { … } }
    After:   for m step 48 masked { for n step 8 { … } tail 4 { … } tail 2 { … } tail 1 { … } }
             tail 16 masked { … }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Expand every loop, innermost first."""

        def expand(body: list[Statement], loops: Nest) -> list[Statement]:
            return [_with_tails(lir, s, loops) if is_kind(s, "for") else s for s in body]

        lir.body = rewrite(_with_panels(lir, lir.body), expand)
        return lir


def _with_panels(lir: LinearIR, body: list[Statement]) -> list[Statement]:
    """Panels of products alone in pieces of every number of vectors; tiles are still whole."""
    return [
        _panel(lir, s) if isinstance(s, Loop) and s.kind in ("for", "parallel") else s for s in body
    ]


def _panel(lir: LinearIR, loop: Loop) -> Loop:
    main, axis = loop.pieces[0], loop.axis
    if loop.parallel:
        return replace(loop, pieces=[replace(main, body=_with_panels(lir, main.body))])
    made = [e for e in expressions(main.body) if e.op != "load"]
    if main.masked or not _is_panel(loop) or any("pairs" in e.attrs for e in made):
        return loop
    if not in_vectors(lir, axis, made):
        return replace(loop, pieces=[_narrowed(lir, axis, piece) for piece in _every_number(main)])
    granule = lcm(lir.width, *_blocks(lir, main.body, axis))
    if main.step % granule or main.step == granule:
        return loop
    vectors = range(main.step, 0, -granule)
    return replace(loop, pieces=[Piece(n, _widened(main, n), masked=True) for n in vectors])


def _is_panel(loop: Loop) -> bool:
    """Whether a loop goes around tiles of products, and nothing is streamed in it."""
    inside = [s for s in loop.body if isinstance(s, Loop)]
    is_streamed = any(is_block_loop(s) or s.states for s in (loop, *inside))
    return not is_streamed and any(map(_has_accumulators, inside))


def _has_accumulators(loop: Loop) -> bool:
    """Whether a loop is one over the tiles of a product."""
    return any(e.op == "fma" and loop.axis in e.type.axes for e in expressions(loop.body))


def _widened(main: Piece, step: int) -> list[Statement]:
    """The body for a narrower panel: its tiles have as many accumulators as those of the panel."""
    body = _body_for(main, step)
    for statement in body:
        if isinstance(statement, Loop) and _has_accumulators(statement):
            tile = statement.pieces[0]
            # What a tile keeps in a buffer has room for its rows and no more.
            if not any(isinstance(inside, Buffer) for inside in tile.body):
                tile.step = min(tile.step * (main.step // step), max(tile.step, MOST_ROWS))
    return body


def _narrowed(lir: LinearIR, axis: str, piece: Piece) -> Piece:
    """A panel of more rows than a tile has: fewer of the other axis leave accumulators for them."""
    plan = lir.plans[axis]
    for statement in piece.body if piece.step > plan.tile else ():
        if isinstance(statement, Loop) and _has_accumulators(statement):
            tile = statement.pieces[0]
            tile.step = max(plan.tile * tile.step // piece.step, 1)
    return piece


def _with_tails(lir: LinearIR, loop: Loop, loops: Nest) -> Loop:
    """A loop of pieces of known size, if it is one of tiles."""
    if is_block_loop(loop) or len(loop.pieces) > 1:
        return loop
    main, axis = loop.pieces[0], loop.axis
    if main.step > 1 and _is_even(lir, loop, loops):
        return replace(loop, pieces=_every_number(main), even=True)
    return replace(loop, pieces=_expanded(lir, main, axis, loops))


def _is_even(lir: LinearIR, loop: Loop, loops: Nest) -> bool:
    """Whether a loop goes over rows, in tiles of products, and nothing is streamed."""
    plan = lir.plans.get(loop.axis)
    if plan is None or plan.role != "rows" or streams(lir) or not _has_accumulators(loop):
        return False
    is_cut = any(outer.axis == loop.axis for outer in loops)
    in_lanes = in_vectors(lir, loop.axis, expressions(loop.body))
    return is_cut and not (in_lanes and loop.step % lir.width == 0)


def _expanded(lir: LinearIR, main: Piece, axis: str, loops: tuple[Loop, ...]) -> list[Piece]:
    blocks = [loop for loop in loops if loop.axis == axis]
    size = None if blocks else lir.axes[axis]
    if main.masked:
        return _tile_register_pieces(main, axis, lir.width, size)
    # What is loaded for a product need not lie in its lanes.
    made = [e for e in expressions(main.body) if e.op != "load"]
    if not in_vectors(lir, axis, made) or main.step % lir.width:
        return _row_pieces(main, size)
    granule = lcm(lir.width, *_blocks(lir, main.body, axis))
    if blocks and blocks[-1].parallel:
        return _panel_pieces(main, granule)
    return _column_pieces(main, granule * (2 if holds_pairs(main.body, axis) else 1), size)


def _blocks(lir: LinearIR, body: list[Statement], axis: str) -> list[int]:
    """How many neighbours along an axis lie together in the tensors that a body moves."""
    names = {e.inputs[0] for e in expressions(body) if e.op in MOVES}
    found = [lir.tensors[name].block for name in names if name in lir.tensors]
    return [block[1] for block in found if block is not None and block[0] == axis]


def _panel_pieces(main: Piece, width: int) -> list[Piece]:
    pairs = any("pairs" in e.attrs for e in expressions(main.body))
    steps = range(main.step, 0, -width) if pairs else dict.fromkeys((main.step, width))
    return [Piece(step, _body_for(main, step), masked=True) for step in steps]


def _tile_register_pieces(main: Piece, axis: str, width: int, size: int | None) -> list[Piece]:
    """Sums as they are; rows in tiles while more than one register of them is left, then in one."""
    sums = any(isinstance(s, Expression) and axis in s.over for s in main.body)
    if sums or main.step == width:
        return [main]
    last = Piece(width, _body_for(main, width), masked=True)
    if size is None:
        return [main, last]
    rest = size % main.step
    whole, more = size >= main.step or rest > width, 0 < rest <= width
    return [piece for piece, needed in ((main, whole), (last, more)) if needed]


def _column_pieces(main: Piece, width: int, size: int | None) -> list[Piece]:
    if size is None:
        return [Piece(main.step, main.body, masked=True)]
    pieces, rest = [main] if size >= main.step else [], size % main.step
    if rest:
        step = -(-rest // width) * width
        pieces.append(Piece(step, _body_for(main, step), masked=rest % width > 0))
    return pieces


def _row_pieces(main: Piece, size: int | None) -> list[Piece]:
    steps = [main.step, *_halves(main.step)]
    if size is not None:
        whole, rest = size // main.step, size % main.step
        steps = [step for step in steps if (whole if step == main.step else rest & step)]
    return [Piece(step, _body_for(main, step)) for step in steps]


def _every_number(main: Piece) -> list[Piece]:
    """The body for every number of elements, falling."""
    return [Piece(step, _body_for(main, step)) for step in range(main.step, 0, -1)]


def _body_for(main: Piece, step: int) -> list[Statement]:
    return main.body if step == main.step else copies(main.body)


def _halves(step: int) -> list[int]:
    """Powers of two below ``step``, falling: together they cover every remainder."""
    return [1 << bit for bit in range((step - 1).bit_length() - 1, -1, -1)]
