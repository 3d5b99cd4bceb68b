"""LinearIR, the control-flow IR: an ordered list of Expressions inside explicit loops.

Grammar of the printed form (``ir/text/linear.py`` prints and parses it)::

    linear   ::= "linear @" name "lanes" axis+ "x" int line*
    line     ::= "axis" name ("=" int)? (":" role (size int)*)?
               | ("input" | "output") "%" tensor ":" dtype dim* ("order" int*)? ("block" axis int)?
                 ("parts" dim* ("of" axis dim)* ("with" axis "=" int)*)?
                 ("then" function "%" name)*
               | "scalar" "%" name
               | block
    block    ::= (expression | buffer | loop | retry | once | join)*
    once     ::= "once" axis* "{" block "}"
    retry    ::= "retry" "%" value "{" block "}"
    loop     ::= ("parallel" | "for") axis limits? carries? "even"? "step" int "masked"? ports?
                 "{" block "}" tail*
    carries  ::= "carries" state ("and" state)*
    state    ::= "%" value monoid (("part" | "by" | "safe" | "scale" | "last") "%" value)*
    limits   ::= "where" limit ("and" limit)*
    limit    ::= axis ("upto" | "from") axis? offset ("when" "%" value)?
    offset   ::= ("+" | "-") int (("+" | "-") "%" scalar)*
    tail     ::= "tail" int "masked"? ports? "{" block "}"
    join     ::= "join" axis ports? "{" block "}" "last" "{" block "}"
    ports    ::= "moves" ("%" tensor "by" (int | "stride") "rewind"?)*
    buffer   ::= "buffer" "%" tensor ":" dtype ("[" axis ":" int "]")* pairs? ("at" int)?
    expr     ::= ("%" value "=")? op operand* attrs? ":" dtype "[" axis* "]" pairs?
    pairs    ::= "pairs" axis
    operand  ::= "%" (value | tensor | scalar)
    dim      ::= "[" axis* "]"
    attrs    ::= "{" name "=" attr ("," name "=" attr)* "}"
    attr     ::= int | float | "inf" | "-inf" | "nan" | "true" | "false" | name | "(" attr,* ")"

Line breaks and indentation are free, ``;`` may separate statements, ``#`` begins a comment.

**Values** (``%0``) live in registers and have an element type and a set of axes. How many elements
of an axis a value holds is the step of the innermost loop over that axis around it: a value
``f32[n m]`` inside ``for m step 48 { for n step 8 {`` is an 8×48 tile. Operands align by axis name.
Assigning to a value again updates the register: that is how accumulators pass through loops.

**Plans.** What stands behind an axis is decided (``schedule.py``): its role, and how many elements
of it each kind of loop takes. Passes that make loops obey it, and none asks what an axis is for.

**Lanes.** Of the lanes axes the last one that a value has lies in the lanes of vectors, if its tile
holds whole vectors of it; the other axes number them. With ``lanes n d``, ``[n d]`` is vectors of
d, ``[m n]`` vectors of n, ``[m]`` single elements, and so is ``[m n]`` inside ``for n step 4``
where a vector has more than 4.

**Pairs.** A register of ``bf16`` holds pairs: each element of 32 bits is two neighbours along the
axis that its type names, the even index in the low half; where the tile has one element of that
axis, the high half is zero. So do buffers of pairs, where a pair takes its first element's place.
Products whose operands are pairs multiply them two by two. Loops over that axis begin even.

**Tiles.** ``registers=(0, 1)`` of an Expression are the tile registers that hold its value, row by
row: 16 rows of 16 elements or pairs each. Only fills with zero, moves and products have such
values. In a masked piece a product in tiles has more rows, and sums over more, than there are: all
that it reads and writes are buffers, which have room for it and are padded where sums need zeros.

**Tensors** are memory: inputs, outputs and buffers. Inside loops a tensor stands for the part at
the loops' current position. A buffer begins where it is declared, covers ``extent`` elements of
each axis from there, and is laid out as listed, last axis innermost. An input with ``parts`` that
lacks some of an axis is read by index along it (``ir/parts.py``), and no loop over it moves it.
What is of a narrow type is ``f32`` in registers, unless they hold pairs: a load converts it, a
store of ``f32`` rounds. ``%w : i8[n][k] then sub %z then mul %s`` tells what else a load does,
until it is written out (InsertDequantization): it is as if memory held ``(w - z) s``.

**Indices.** ``load %t %i {axis=v}`` has the axes of both but for v, along which nothing moves %t.
The register %i is loaded of an input of whole numbers. No worker begins with its first task before
it has looked through all of that input: where an index is no element of v, none touches memory, and
the slot ``fault`` of the call says so (``call_args.py``).

**Loops.** A loop over an axis that holds another loop over the same axis is a *block* loop: each
iteration covers ``min(step, what remains)`` elements, which are the work amount of the inner one.
The innermost loop over an axis is a *tile* loop: an iteration covers exactly ``step`` elements.
``tail`` pieces run after the main body on what remains, in order, each as long as its step fits; a
``masked`` piece runs while all of its vectors are needed, the last one while anything remains, and
an iteration covers ``min(step, what remains)``. Only lanes axes are masked, and products in tiles
(see there). ``even`` loops make as few iterations, of nearly equal steps: 31 elements by 8 are 8,
8, 8 and 7, and 17 are 6, 6 and 5; they have a piece of every step. Each port of a loop is a tensor
that advances with it: by a number of elements, or by the run-time stride of the axis; ``rewind``
undoes the advance at the end.

**Limits.** ``for m where n upto m + 3`` shortens what is left of axis n in each iteration to the
elements that satisfy it for some m of the iteration; ``from`` leaves all of them or none. A limit
of the loop's own axis, ``for n where n from m - 3``, is one of what the loop covers: it ends where
no m in the current range needs more, and begins later by whole steps; such a limit may also be a
number alone, ``for n where n upto + 0 + %s``. What is cut off must not matter to the result.
``when %on`` makes it a limit only where that register is true. Scalars in an offset are rounded so
that more is left; where one is no number or above 2^22 nothing is cut off.

**States.** ``for n carries %x larger part %x.part`` says what passes through a loop that streams:
``%x`` begins with the identity of a monoid and takes in ``%x.part`` in each iteration, as the body
does it. What another task has in the same register can be combined with it likewise. Sums ``by`` a
maximum are of ``exp(x - max)``: they follow it when it moves (``passes/linear/online_states.py``).

**Retries.** ``retry %again { … }`` runs its body, and once more if that has made the register true,
which was false: what was tried, for instance a limit, can be found wanting and left.

**Once.** ``once m { … }`` fills buffers. It runs its body, but not where they still hold what it
would fill them with: where this worker ran it last at the same place of those axes. Such buffers
are no other's memory at any time.

**Joins.** A parallel loop whose body holds ``join c { … } last { … }`` is *split*: its iterations
are chunks of an axis, together one *group* of tasks. A chunk has at least ``step`` elements, and
more where axis c, which numbers the chunks and has a static size, would not suffice; there is at
least one. Where there are several, each comes to the join in any order and runs the first body, in
which c is its number, as the join's ports tell. All but the last to come end there. The last one
runs the second body, in which c is all chunks, and goes on. Buffers declared around a parallel loop
are memory that its tasks share.

==============  ===============================================================================
load %t         the tile of tensor ``%t`` at the current position                  a move
load %t %i      ``{axis}`` of an input those of its tile whose index along an      a move
                axis is ``%i``: see *indices*
store %t %a     write the tile ``%a``                                              a move
prefetch %t     ask for the cache lines of the tile of an input; no value          a move
                ``{ahead}`` of the next tile along an axis, or so many tiles on, ``{by}``;
                ``{along}`` tiles of that other axis ask for a part of it each
pad %t          ``{axis, to}`` zeros in a buffer behind what the block has of an   a move
                axis, up to a multiple of ``to`` elements; no value
fill            ``{value}`` every element is ``value``                             a move
iota            ``{axis}`` the index along an axis, i32                            a move
elementwise     any row of ``ir/operations.py``; ``%name`` of a scalar is an operand
                ``{precision}`` of exp and exp2: no more exact than that type needs
fma %a %b %c    ``{over}`` %c + Σ %a·%b over the elements of axes in the tile      a product
                ``{pairs}`` of operands that hold pairs of that axis
                ``{tiles}`` in tile registers, where the tile fills some
horizon %a      ``{monoid, over}`` combines the elements of axes in the tile       a reduction
brgemm %a %b    ``{over}`` a whole product; lowered to fill, load, fma             before tiling
brgemm %a %b %c the same, added to the accumulator ``%c``                          before tiling
reduce %a       ``{monoid, over}`` a whole reduction; lowered to fill, horizon     before tiling
==============  ===============================================================================

Before it is lowered a reduction inside loops over its axes accumulates through those that its value
leaves (that anything outside reads), and begins anew with each run of the outermost of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

from snipjit.ir.expression import Expression
from snipjit.ir.loop_limits import Limit
from snipjit.ir.schedule import AxisPlan
from snipjit.ir.states import State
from snipjit.ir.tensors import Buffer, Tensor

STRIDE = "stride"
"""A port increment that is only known at run time: the tensor's stride along the loop's axis."""


@dataclass
class LoopPort:
    """A tensor that a loop advances: elements per unit of work, and whether the end rewinds it."""

    tensor: str
    ptr_increment: int | str
    rewind: bool = False


@dataclass
class Piece:
    """One body of a loop with its increment: the main body or a tail."""

    step: int
    body: list[Statement]
    masked: bool = False
    ports: list[LoopPort] = field(default_factory=list)


LoopKind = Literal["for", "parallel", "retry", "once", "join"]


@dataclass
class Loop:
    """Bodies that run under the control of an axis, of tasks, or of a register.

    for       the pieces run one after another over the work amount of the axis
    parallel  so do those of tasks, at the same time
    retry     over no axis: the body runs once more if it has set the register ``flag``
    once      over no axis: the body runs if it ran at another place of the axes ``at`` before
    join      where the tasks that the axis numbers meet: what each does there, and the last
    """

    axis: str
    pieces: list[Piece]
    kind: LoopKind = "for"
    limits: tuple[Limit, ...] = ()
    states: tuple[State, ...] = ()
    flag: str = ""
    even: bool = False
    at: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """The increment of the main body."""
        return self.pieces[0].step

    @property
    def body(self) -> list[Statement]:
        """The main body."""
        return self.pieces[0].body

    @property
    def parallel(self) -> bool:
        """Whether its iterations are tasks."""
        return self.kind == "parallel"

    @property
    def last(self) -> list[Statement]:
        """Of a join: what the last task to come does for all."""
        return self.pieces[1].body


def retry(flag: str, body: list[Statement]) -> Loop:
    """Statements that run again if they set ``flag``."""
    return Loop("", [Piece(1, body)], "retry", flag=flag)


def once(at: tuple[str, ...], body: list[Statement]) -> Loop:
    """Statements that fill buffers, unless these hold it already."""
    return Loop("", [Piece(1, body)], "once", at=at)


def is_kind(statement: Statement, kind: LoopKind) -> TypeGuard[Loop]:
    """Whether a statement is a loop of some kind."""
    return isinstance(statement, Loop) and statement.kind == kind


Statement = Expression | Buffer | Loop


@dataclass
class LinearIR:
    """A whole kernel: the tensors of its call, and the statements."""

    name: str
    lanes: tuple[str, ...]
    width: int
    axes: dict[str, int | None]
    inputs: list[Tensor]
    outputs: list[Tensor]
    scalars: list[str]
    body: list[Statement]
    plans: dict[str, AxisPlan] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Inputs and outputs under their names."""
        return {tensor.name: tensor for tensor in (*self.inputs, *self.outputs)}

    def walk(self) -> Iterator[tuple[Statement, tuple[Loop, ...]]]:
        """Every statement with the loops around it, in order of emission."""
        yield from walk(self.body)

    def expressions(self) -> list[Expression]:
        """Every Expression, in order."""
        return expressions(self.body)

    def buffers(self) -> dict[str, Buffer]:
        """Every buffer declared anywhere (tails repeat the main body's names)."""
        return {s.name: s for s, _ in self.walk() if isinstance(s, Buffer)}

    def sort_axes(self, axes: Mapping[str, Any] | set[str] | tuple[str, ...]) -> tuple[str, ...]:
        """The given axes in the order of the kernel, lanes axes last."""
        chosen = [axis for axis in self.axes if axis in axes and axis not in self.lanes]
        return (*chosen, *(axis for axis in self.lanes if axis in axes))

    def vector_axis(self, axes: Collection[str]) -> str | None:
        """Of a value with these axes, the one in lanes where tiles hold whole vectors of it."""
        return next((axis for axis in reversed(self.lanes) if axis in axes), None)


Nest = tuple[Loop, ...]
"""The loops around something, outermost first."""


def walk(
    body: Iterable[Statement], loops: tuple[Loop, ...] = ()
) -> Iterator[tuple[Statement, tuple[Loop, ...]]]:
    """Every statement of a body, and of the loops in it, with the loops around it."""
    for statement in body:
        yield statement, loops
        if isinstance(statement, Loop):
            for piece in statement.pieces:
                yield from walk(piece.body, (*loops, statement))


def expressions(body: Iterable[Statement]) -> list[Expression]:
    """Every Expression of a body, and of the loops in it, in order."""
    return [s for s, _ in walk(body) if isinstance(s, Expression)]


def bodies(body: list[Statement]) -> list[list[Statement]]:
    """A body, and those of every loop in it."""
    loops = (s for s, _ in walk(body) if isinstance(s, Loop))
    return [body, *(piece.body for loop in loops for piece in loop.pieces)]
