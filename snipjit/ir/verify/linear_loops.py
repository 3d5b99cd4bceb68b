"""What emission needs of loops and registers: sized tiles and no remainder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from snipjit.errors import VerificationError
from snipjit.ir.expression import MOVES, Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Piece, Statement, expressions, is_kind, walk
from snipjit.ir.loop_limits import Limit
from snipjit.ir.loop_nest import holds_pairs, is_block_loop, join_of, least_remainder, parallel_loop
from snipjit.ir.text.linear import around

Tile = dict[str, bool]
"""For each axis with a loop around, whether the innermost fixes what a register holds."""
Amounts = dict[str, set[int]]
"""For each axis with a loop around, the work amounts that an inner loop may meet."""


def check_loops(lir: LinearIR) -> None:
    """Raise VerificationError if registers do not fit their loops, or loops their work."""
    whole = {axis: True for axis, plan in lir.plans.items() if plan.role == "lanes"}
    _Registers(lir).block(lir.body, whole, set(lir.scalars))
    _check_remainders(lir, lir.body, {})


def check_place(lir: LinearIR, loop: Loop, loops: tuple[Loop, ...]) -> None:
    """A known axis, steps, masks on lanes only, parallel loops around everything."""

    def demand(holds: bool, message: str) -> None:
        if not holds:
            raise fault(lir, loop, message)

    if is_kind(loop, "retry"):
        return
    if is_kind(loop, "once"):
        _check_once(lir, loop, loops)
        return
    demand(loop.axis in lir.axes, f"the loop has unknown axes: {loop.axis}")
    demand(bool(loop.pieces), "a loop needs a body")
    lone = all(parallel_loop(body) for body in (lir.body, *(outer.body for outer in loops)))
    demand(not loop.parallel or lone, "a parallel loop must stand alone in parallel loops")
    repeated = any(outer.axis == loop.axis and outer.parallel for outer in loops)
    demand(not (loop.parallel and repeated), f"two parallel loops over axis {loop.axis}")
    for piece in loop.pieces:
        demand(piece.step > 0, "a step must be at least 1")
        beyond = loop.axis in lir.lanes or goes_beyond(lir, piece, loop.axis)
        demand(not piece.masked or beyond, f"only lanes axes ({' '.join(lir.lanes)}) can be masked")


def _check_once(lir: LinearIR, loop: Loop, loops: tuple[Loop, ...]) -> None:
    """What it fills buffers with depends on the place of its axes, and on nothing else."""
    places = {outer.axis for outer in loops} - {""}
    for e in expressions(loop.body):
        if e.op == "store" and e.inputs[0] not in lir.buffers():
            raise fault(lir, loop, f"a store to %{e.inputs[0]} may not be left out")
        if e.op != "load" or e.inputs[0] in lir.buffers():
            continue
        if missing := sorted({*lir.tensors[e.inputs[0]].axes} & places - {*loop.at}):
            raise fault(lir, loop, f"%{e.inputs[0]} has other places along axis {missing[0]}")
    if unknown := [axis for axis in loop.at if axis not in places]:
        raise fault(lir, loop, f"no loop over axis {unknown[0]} is around it")


def fault(lir: LinearIR, statement: Statement, message: str) -> VerificationError:
    """An error that shows the statement in its IR."""
    return VerificationError(f"{lir.name}: {message}\n{around(lir, statement)}")


# Registers: a use sees a definition in its own body or in one around it, of the same tile.


@dataclass
class _Registers:
    lir: LinearIR

    def block(self, body: list[Statement], tile: Tile, registers: set[str]) -> None:
        """Follow the statements; ``registers`` are those that hold a value."""
        for statement in body:
            if isinstance(statement, Loop):
                self.flags(statement, registers)
                for piece in statement.pieces:
                    inner = {**tile, statement.axis: _is_tile(statement, piece)}
                    self.block(piece.body, inner, set(registers))
            elif isinstance(statement, Expression):
                self.expression(statement, tile, registers)

    def flags(self, loop: Loop, registers: set[str]) -> None:
        """What a loop asks is held where the loop begins."""
        asked = {limit.when for limit in loop.limits if limit.when}
        asked |= {loop.flag} if is_kind(loop, "retry") else set()
        if lost := sorted(asked - registers):
            raise fault(self.lir, loop, f"%{lost[0]} is defined in a loop that has ended")

    def expression(self, e: Expression, tile: Tile, registers: set[str]) -> None:
        """The axes have tiles, the operands values; then the output has one."""
        for axis in (*e.type.axes, *e.over) if e.op != "pad" else ():  # that is of a block
            self.tiled(e, axis, tile)
        for name in e.operands:
            if name not in registers:
                message = f"%{name} is defined in a loop that has ended: it needs a buffer"
                raise fault(self.lir, e, message)
        if e.output is not None:
            registers.add(e.output)

    def tiled(self, e: Expression, axis: str, tile: Tile) -> None:
        """The innermost loop over an axis says how many elements of it a tile has."""
        if axis not in tile:
            raise fault(self.lir, e, f"no loop over axis {axis} is around {e.op}")
        if not tile[axis]:
            raise fault(self.lir, e, f"{e.op} stands in no tile loop over axis {axis}")


def _is_tile(loop: Loop, piece: Piece) -> bool:
    if is_kind(loop, "join"):
        return piece is loop.pieces[0]
    return not is_block_loop(loop) and (loop.step == 1 or not loop.parallel)


# Remainders: whatever the work amount, the pieces of a tile loop cover it.


def _check_remainders(lir: LinearIR, body: list[Statement], amounts: Amounts) -> None:
    for loop in body:
        if isinstance(loop, Loop) and loop.kind in ("join", "once", "retry"):
            for piece in loop.pieces:
                _check_remainders(lir, piece.body, amounts)
        elif isinstance(loop, Loop):
            _check_remainder(lir, loop, amounts)


def _check_remainder(lir: LinearIR, loop: Loop, amounts: Amounts) -> None:
    block = loop.parallel or is_block_loop(loop)
    if block and len(loop.pieces) > 1:
        raise fault(lir, loop, f"a block loop over axis {loop.axis} has no tails")
    possible = _amounts(lir, loop, amounts)
    cut = {limit.axis: _cut(lir, loop, limit, amounts) for limit in loop.limits}
    possible = cut.pop(loop.axis, possible)
    if not block:
        _check_steps(lir, loop)
        _check_stores(lir, loop)
        _check_tiles(lir, loop)
        left = [work for work in sorted(possible) if tiles_end(loop, work, lir.width) < work]
        if left:
            message = f"no piece covers the rest of {left[0]} elements of axis {loop.axis}"
            raise fault(lir, loop, f"{message}: add a tail")
    for piece in loop.pieces:
        inner = _block_amounts(lir, loop, possible) if block else {piece.step}
        _check_remainders(lir, piece.body, {**amounts, loop.axis: inner, **cut})


def _cut(lir: LinearIR, loop: Loop, limit: Limit, amounts: Amounts) -> set[int]:
    """The work amounts that a limit may leave: any up to those there were."""
    own = limit.axis == loop.axis
    if own == (limit.of == loop.axis):
        raise fault(lir, loop, f"a limit is either of or by the axis of its loop, {loop.axis}")
    other = limit.of if own else limit.axis
    if other and other not in amounts:
        raise fault(lir, loop, f"a limit needs a loop over axis {other} around it")
    if unknown := [name for name in (*limit.plus, *limit.minus) if name not in lir.scalars]:
        raise fault(lir, loop, f"%{unknown[0]} is no scalar of the call, as an offset is")
    before = _amounts(lir, loop, amounts) if own else amounts[limit.axis]
    return set(range(max(before) + 1))


def _check_steps(lir: LinearIR, loop: Loop) -> None:
    """Whole vectors of lanes, or less than one; masked pieces last, with falling steps.

    An even loop has pieces of every step, none of them masked.
    """
    if loop.even and [(p.step, p.masked) for p in loop.pieces] != _every_step(loop):
        raise fault(lir, loop, f"an even loop has pieces of every step from {loop.step} to 1")
    vectors = [p.step for p in loop.pieces if p.masked or p.step > lir.width]
    if loop.axis in lir.lanes and any(step % lir.width for step in vectors):
        raise fault(lir, loop, f"steps of the lanes axis must be multiples of {lir.width}")
    odd = [piece for piece in loop.pieces if piece.step % 2 and holds_pairs(piece.body, loop.axis)]
    if odd and (odd != loop.pieces[-1:] or odd[0].step > 1):
        raise fault(lir, loop, f"axis {loop.axis} goes by pairs: even steps, then a tail of 1")
    masked = [piece.masked for piece in loop.pieces]
    falling = [piece.step for piece in loop.pieces if piece.masked]
    if masked != sorted(masked) or falling != sorted(set(falling), reverse=True):
        raise fault(lir, loop, "masked pieces must come last, with falling steps")


def _every_step(loop: Loop) -> list[tuple[int, bool]]:
    return [(step, False) for step in range(loop.step, 0, -1)]


def goes_beyond(lir: LinearIR, piece: Piece, axis: str) -> bool:
    """Whether a piece makes products in tiles that have or sum the axis, and nothing else.

    These go on beyond the end of any axis but the one in lanes, which is masked.
    """
    found = expressions(piece.body)
    made = [e for e in found if e.op not in ("fill", "load", "store")]
    return bool(made) and all(
        e.attrs.get("tiles")
        and axis in (*e.type.axes, *e.over)
        and axis != lir.vector_axis(e.type.axes)
        for e in made
    )


def _check_tiles(lir: LinearIR, loop: Loop) -> None:
    """What lies beyond the end of an axis is in buffers, which have room for it."""
    buffers = lir.buffers()
    for piece in loop.pieces:
        if piece.masked and goes_beyond(lir, piece, loop.axis):
            for s, _ in walk(piece.body):
                if isinstance(s, Expression) and s.op in MOVES and s.inputs[0] not in buffers:
                    message = f"a product in tiles would go beyond the end of %{s.inputs[0]}"
                    raise fault(lir, s, message)


def _check_stores(lir: LinearIR, loop: Loop) -> None:
    """Every piece stores what the others store, or parts of a tensor would be left as they were."""
    stored = [moved(piece.body, "store") for piece in loop.pieces]
    for piece, found in zip(loop.pieces, stored, strict=True):
        if missing := sorted(set[str]().union(*stored) - found):
            names = ", ".join(f"%{name}" for name in missing)
            raise fault(lir, loop, f"step {piece.step} does not store {names}, other pieces do")


def _amounts(lir: LinearIR, loop: Loop, amounts: Amounts) -> set[int]:
    """The work amounts of a loop: of a dynamic axis, enough for every remainder to occur."""
    if loop.axis in amounts:
        return amounts[loop.axis]
    size = lir.axes[loop.axis]
    largest = max(piece.step for piece in loop.pieces)
    return set(range(2 * largest)) if size is None else {size}


def _block_amounts(lir: LinearIR, loop: Loop, possible: set[int]) -> set[int]:
    """What the iterations of a block loop cover; the runtime may shorten parallel steps."""
    if join_of(loop) is not None:
        return set(range(1, 2 * loop.step))
    cut = any(limit.axis == loop.axis for limit in loop.limits)
    if loop.parallel or cut or lir.axes[loop.axis] is None:
        return set(range(1, loop.step + 1))
    whole = {loop.step for amount in possible if amount >= loop.step}
    return whole | {amount % loop.step for amount in possible if amount % loop.step}


def tiles_end(loop: Loop, work: int, width: int) -> int:
    """Where the last tile ends of a loop over so many elements.

    Before the last element if no piece covers the rest, behind it if a masked tile goes beyond.
    """
    end = 0
    for piece in loop.pieces:
        if not (piece.masked or loop.even):
            end += (work - end) // piece.step * piece.step
            continue
        while work - end >= least_remainder(loop, piece, width, work - end):
            end += piece.step
    return end


def moved(statements: Iterable[Statement], *ops: str) -> set[str]:
    """The tensors that are loaded or stored (or only one of these) anywhere in the statements."""
    return {
        s.inputs[0]
        for s, _ in walk(list(statements))
        if isinstance(s, Expression) and s.op in (ops or MOVES)
    }
