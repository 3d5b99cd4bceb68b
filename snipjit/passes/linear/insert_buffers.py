"""InsertBuffers: memory for values that leave the loops they are computed in."""

from __future__ import annotations

from dataclasses import dataclass, field

from snipjit.errors import UnsupportedError
from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Loop, Nest, Statement
from snipjit.ir.loop_nest import most, parallel_loops
from snipjit.ir.tensors import Buffer
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.passes.linear.tile_products import products_in_tiles


@dataclass(frozen=True)
class InsertBuffers(LinearPass):
    """A value used outside the loops of its definition is stored there and loaded where it is used.

    The buffer is declared in the innermost body around all uses. It covers one block of each axis
    that has a loop around that body, and the whole (static) axis otherwise. A factor whose rows
    tiles take has the summed axis innermost.

    Before:  for n step 8 { %s = mul %a %b : f32[n m] }
             for n step 4 { %p = exp %s : f32[n m] }
    After:   buffer %s.buffer : f32[n:128][m:48]
             for n step 8 { %s = mul %a %b ; store %s.buffer %s }
             for n step 4 { %s = load %s.buffer ; %p = exp %s }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Buffer every value that does not fit registers."""
        buffered: set[str] = set()
        while (found := _next(lir, buffered)) is not None:
            _buffer(lir, *found)
            buffered.add(found[0])
        return lir


@dataclass
class _Access:
    """Every definition and use of a value in one body: the body of its own tile.

    uses      positions in the body, of the statements that use it, or hold loops that do
    defines   likewise of those that define it
    deeper    body and position of a definition in a loop over an axis that the value lacks,
              unless that loop accumulates it
    """

    context: Nest
    body: list[Statement]
    type: ValueType
    uses: list[int] = field(default_factory=list)
    defines: list[int] = field(default_factory=list)
    deeper: list[tuple[list[Statement], int]] = field(default_factory=list)


def _next(lir: LinearIR, buffered: set[str]) -> tuple[str, list[_Access], Nest] | None:
    """The first value used outside the loops of its definition, and the home of its buffer."""
    for name, accesses in _accesses(lir).items():
        paths = [access.context for access in accesses]
        home = _common(paths)
        if name not in buffered and paths[0] != home:
            return name, accesses, home
    return None


def _accesses(lir: LinearIR) -> dict[str, list[_Access]]:
    """The accesses of each value, by context, in order."""
    types: dict[str, ValueType] = {}
    for statement, _ in lir.walk():
        if isinstance(statement, Expression) and statement.output is not None:
            types.setdefault(statement.output, statement.type)
    accesses: dict[str, list[_Access]] = {name: [] for name in types}
    _collect(lir.body, (), [], types, accesses)
    return accesses


def _collect(
    body: list[Statement],
    path: Nest,
    trail: list[tuple[list[Statement], int]],
    types: dict[str, ValueType],
    accesses: dict[str, list[_Access]],
) -> None:
    for position, statement in enumerate(body):
        here = [*trail, (body, position)]
        if isinstance(statement, Loop):
            for piece in statement.pieces:
                _collect(piece.body, (*path, statement), here, types, accesses)
        elif isinstance(statement, Expression):
            for name in dict.fromkeys(statement.inputs):
                if name in types:
                    access = _access(accesses[name], path, here, types[name])
                    access.uses.append(here[len(access.context)][1])
            if statement.output is not None:
                name = statement.output
                access = _access(accesses[name], path, here, types[name])
                access.defines.append(here[len(access.context)][1])
                if name not in statement.inputs:  # what a loop carries on outlives it
                    access.deeper += here[len(access.context) + 1 :][-1:]


def _access(
    known: list[_Access], path: Nest, trail: list[tuple[list[Statement], int]], type: ValueType
) -> _Access:
    """The access of the context, which drops the innermost loops over axes the value lacks."""
    depth = len(path)
    while depth and path[depth - 1].axis not in type.axes:
        depth -= 1
    context = path[:depth]
    for access in known:
        if access.context == context and access.body is trail[depth][0]:
            return access
    known.append(_Access(context, trail[depth][0], type))
    return known[-1]


def _common(paths: list[Nest]) -> Nest:
    """The loops around all of the paths."""
    first = paths[0]
    depth = 0
    while all(len(p) > depth and p[depth] is first[depth] for p in paths if depth < len(first)):
        if depth == len(first):
            break
        depth += 1
    return first[:depth]


def _buffer(lir: LinearIR, name: str, accesses: list[_Access], home: Nest) -> None:
    type = accesses[0].type
    held = extents(lir, name, type, home)
    buffer = Buffer(f"{name}.buffer", type.dtype, held, pairs=type.pairs)
    for access in accesses:
        _store_and_load(buffer.name, name, access)
    (home[-1].body if home else lir.body).insert(0, buffer)


def extents(lir: LinearIR, name: str, type: ValueType, home: Nest) -> dict[str, int]:
    """How much a buffer for a value holds of each axis, declared inside the loops ``home``."""
    found: dict[str, int] = {}
    granules = _granules(lir)
    for axis in type.axes:
        size = most(lir, axis, home)
        if size is None:
            raise UnsupportedError(
                f"value %{name} would need a buffer along axis {axis} of unknown size"
            )
        granule = granules.get(axis, 1)
        size = -(-size // granule) * granule
        if size != 1:
            found[axis] = size
    if type.pairs and name in _rows_of_tiles(lir):
        found[type.pairs] = found.pop(type.pairs)
    return found


def _granules(lir: LinearIR) -> dict[str, int]:
    """What buffers hold whole multiples of, by axis.

    Loops over a lanes axis go by vectors, also where it numbers those of another axis, products in
    tiles by whole registers. Tiles of an axis of which some value has pairs are twice as long.
    """
    parallel = {loop.axis for loop in parallel_loops(lir)}
    whole = {axis for e in products_in_tiles(lir) for axis in (*e.type.axes, *e.over)} - parallel
    paired = {e.type.pairs for e in lir.expressions()}
    return {
        axis: (lir.width if axis in whole or axis in lir.lanes else 1) * (1 + (axis in paired))
        for axis in lir.axes
    }


def _rows_of_tiles(lir: LinearIR) -> set[str]:
    """The factors of products in tiles that do not have the lanes of the result."""
    types = {e.output: e.type for e in lir.expressions()}
    return {
        name
        for e in products_in_tiles(lir)
        for name in e.inputs[:2]
        if name in types and lir.vector_axis(e.type.axes) not in types[name].axes
    }


def _store_and_load(buffer: str, name: str, access: _Access) -> None:
    """Load before the first use that no definition precedes; store after the last definition.

    What has one definition, in a deeper loop, which carries nothing on, is stored there, the same
    in each iteration, and is loaded for uses behind that loop.
    """
    uses, defines = access.uses, access.defines
    carried = len(access.deeper) < len(defines)
    if defines:
        body, last = (access.body, max(defines)) if carried else access.deeper[-1]
        body.insert(last + 1, Expression("store", None, (buffer, name), access.type))
    if not carried:
        uses = [use for use in uses if use not in defines]
    if uses and not (carried and min(uses) > min(defines)):
        access.body.insert(min(uses), Expression("load", name, (buffer,), access.type))
