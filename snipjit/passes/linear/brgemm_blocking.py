"""BrgemmBlocking: a product inside its tile loops becomes a loop of multiply-adds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeGuard

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Loop, Nest, Piece, Statement, expressions
from snipjit.ir.loop_nest import streams
from snipjit.ir.regions import rewrite
from snipjit.passes.linear.initialize_accumulators import identity
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.passes.linear.pack_operands import loaded_type

ACROSS = 16
"""Vectors of a contracted axis that are multiplied before they are summed across lanes."""

LINE = 64
"""Bytes of it in an iteration where each lane keeps a sum of its own until the end: a line of the
caches, so that each is asked for once."""

PACKED = 2
"""Vectors of it that are packed at once."""


@dataclass(frozen=True)
class BrgemmBlocking(LinearPass):
    """The register tile of a product: an accumulator, and a loop over the contracted axis.

    The operand without lanes is broadcast element by element, so the order of the two is the
    order in which the emitter holds them: the broadcast one first. Where both have the contracted
    axis in lanes, whole rows are multiplied and summed across lanes; of long rows that nothing
    streams each lane sums its part, so that all rows of a tile are read side by side. Products in
    tiles sum whole rows of tiles, the last of which is padded. What is packed once a tile is loaded
    by a loop in front of that of the product.

    Before:  for n step 8 { %s = brgemm %q.packed %k {over=(d)} : f32[n m] }
    After:   for n step 8 {
               %s = fill {value=0.0} : f32[n m]
               for d step 4 { %s = fma %k %q.packed %s {over=(d)} : f32[n m] }
             }
    Before:  for n step 6 { %s = brgemm %x %w {over=(d)} : f32[m n] }             lanes d
    After:   for n step 6 {
               %s.lanes = fill {value=0.0, apart=true} : f32[m n]
               for d step 16 { %s.lanes = fma %x %w %s.lanes {over=(d), apart=true} : f32[m n] }
               %s = sum_lanes %s.lanes : f32[m n]
             }
    """

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Lower every product."""
        types = {e.output: e.type for e in lir.expressions()}

        def tiled(body: list[Statement], loops: Nest) -> list[Statement]:
            around, packed = tuple(loop.axis for loop in loops), dict[str, Loop]()
            products = [_packing(lir, s, packed) if _is_product(s) else s for s in body]
            types.update({e.output: e.type for e in expressions([*packed.values()])})
            return [
                *packed.values(),
                *(
                    x
                    for s in products
                    for x in (self._tile(lir, s, types, around) if _is_product(s) else [s])
                ),
            ]

        lir.body = rewrite(lir.body, tiled)
        return lir

    def _tile(
        self,
        lir: LinearIR,
        e: Expression,
        types: dict[str | None, ValueType],
        around: tuple[str, ...],
    ) -> list[Statement]:
        assert e.output is not None
        result: list[Statement] = []
        if len(e.inputs) == 2:
            result.append(identity(e, 0.0))
        axes = {name: _axes(lir, name, types) for name in e.inputs[:2]}
        lanes = {name: lir.vector_axis(axes[name]) for name in axes}
        mine = lir.vector_axis(e.type.axes)
        if _keeps_lanes_apart(lir, e, lanes.values(), around):
            return _apart(lir, e)
        operands = sorted(e.inputs[:2], key=lambda name: lanes[name] == mine)
        inputs = (*operands, e.output)
        body: list[Statement] = [Expression("fma", e.output, inputs, e.type, e.attrs)]
        for depth, axis in enumerate(reversed(e.over)):
            held = 2 if axis == e.attrs.get("pairs") else 1
            across = {*lanes.values()} == {axis}
            size = _most(lir, axis, axis in around)
            step = self._step(lir, axis, size if across else None, held) if depth == 0 else 1
            step = 2 * lir.width if "tiles" in e.attrs else step
            ragged = axis in around or (lir.axes[axis] or 1) % step > 0
            padded = "tiles" in e.attrs and ragged
            body = [Loop(axis, [Piece(step, body, masked=padded)])]
        return result + body

    def _step(self, lir: LinearIR, axis: str, across: int | None, held: int) -> int:
        """How many elements an iteration contracts: of an axis in lanes whole vectors, or few.

        ``across``: the most elements of an axis that is summed across lanes; ``held``: how many
        elements a lane holds.
        """
        if across is not None:
            lanes = held * lir.width
            return lanes * min(ACROSS, -(-across // lanes))
        if axis in lir.lanes:
            return held * min(lir.plans[axis].unroll, lir.width // 2)
        return held * lir.plans[axis].unroll


def _keeps_lanes_apart(
    lir: LinearIR, e: Expression, lanes: Iterable[str | None], around: tuple[str, ...]
) -> bool:
    """Whether a sum along lanes is so long that several iterations make it, and made at once."""
    if len(e.inputs) != 2 or len(e.over) != 1 or {*lanes} != {*e.over} or streams(lir):
        return False
    (axis,) = e.over
    return _most(lir, axis, axis in around) > ACROSS * lir.width and "pairs" not in e.attrs


def _packing(lir: LinearIR, e: Expression, packed: dict[str, Loop]) -> Expression:
    """A product whose factors are packed once a tile, by loops that all products of a body share.

    The factor has the axis that the product sums over in vectors of its own.
    """
    homes = dict(zip(e.inputs, e.attrs.get("read", ()), strict=False))
    for name in (name for name, home in homes.items() if home == "tile"):
        (axis,), value = e.over, f"{name}.packed"
        if name not in packed:
            load = Expression("load", value, (name,), loaded_type(lir, name))
            packed[name] = Loop(axis, [Piece(PACKED * lir.width, [load])])
        e = replace(e, inputs=tuple(value if one == name else one for one in e.inputs))
    return e.without("read")


def _apart(lir: LinearIR, e: Expression) -> list[Statement]:
    """A product whose lanes are summed after its loop."""
    (axis,), name = e.over, f"{e.output}.lanes"
    begin = identity(e, 0.0)
    attrs = {**e.attrs, "apart": True}
    body: list[Statement] = [Expression("fma", name, (*e.inputs, name), e.type, attrs)]
    tensors = [lir.tensors[one] for one in e.inputs[:2] if one in lir.tensors]
    narrowest = min((tensor.element.bytes for tensor in tensors), default=4)
    return [
        replace(begin, output=name, attrs={**begin.attrs, "apart": True}),
        Loop(axis, [Piece(max(LINE // narrowest, lir.width), body)]),
        Expression("sum_lanes", e.output, (name,), e.type),
    ]


def _is_product(statement: Statement) -> TypeGuard[Expression]:
    return isinstance(statement, Expression) and statement.op == "brgemm"


def _most(lir: LinearIR, axis: str, blocked: bool) -> int:
    """The most elements of a contracted axis at once; very many, if nothing is known."""
    sizes = (lir.plans[axis].block if blocked else 0, lir.axes[axis] or 0)
    return min((size for size in sizes if size), default=1 << 30)


def _axes(lir: LinearIR, name: str, types: dict[str | None, ValueType]) -> tuple[str, ...]:
    return lir.tensors[name].axes if name in lir.tensors else types[name].axes
