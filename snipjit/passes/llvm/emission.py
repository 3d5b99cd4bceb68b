"""Emission: what every emitter shares: the builder, the call's fields, the scope of the loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce

from llvmlite import ir

from snipjit.ir.call_args import CallArgs
from snipjit.ir.element_types import ELEMENT_TYPES
from snipjit.ir.expression import ValueType
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.loop_nest import shared_buffers
from snipjit.ir.parts import Parts
from snipjit.ir.tensors import Buffer, Tensor
from snipjit.passes.llvm.emit_convert import in_register
from snipjit.passes.llvm.tile import Index, Tile, indices, steps
from snipjit.passes.llvm.vector_ir import (
    I1,
    I8,
    I32,
    I64,
    broadcast,
    lane_numbers,
)
from snipjit.target.target_machine import TargetMachine

POINTER = ir.PointerType()


@dataclass
class Scope:
    """What the loops around the current position have fixed."""

    around: Scope | None = None
    """The scope in which the innermost loop stands."""
    counts: dict[str, int] = field(default_factory=dict)
    """Elements of each axis in a tile."""
    steps: dict[str, int] = field(default_factory=dict)
    """The same, in the main body of its loop."""
    index: dict[str, ir.Value] = field(default_factory=dict)
    """The first element of the tile or block along each axis (i64)."""
    work: dict[str, ir.Value] = field(default_factory=dict)
    """Elements of the current block along each axis (i64): the work amount of an inner loop."""
    valid: dict[str, ir.Value] = field(default_factory=dict)
    """In masked pieces, how many elements of their axis there are (i64)."""
    whole: dict[str, int] = field(default_factory=dict)
    """How many elements of its axis a masked piece has at least."""
    pointers: dict[str, ir.Value] = field(default_factory=dict)
    """Address of each tensor at the current position."""
    registers: dict[str, Tile] = field(default_factory=dict)
    next_panel: dict[str, ir.Value] = field(default_factory=dict)
    """Address of the panel behind the current one, of tensors of which it is asked for."""
    preamble: ir.IRBuilder | None = None
    """Where to put what is needed throughout the piece, before its loops."""
    cache: dict[object, ir.Value] = field(default_factory=dict)
    """What stands in the preamble already."""
    pending: list[tuple[str, Tile]] = field(default_factory=list)
    """Loads in the order of the IR; a later store makes those that are not emitted yet happen."""

    def inner(self) -> Scope:
        """A copy for the body of a loop; the preamble and its cache are shared, splats are not."""
        return replace(
            self,
            around=self,
            counts=dict(self.counts),
            steps=dict(self.steps),
            index=dict(self.index),
            work=dict(self.work),
            valid=dict(self.valid),
            whole=dict(self.whole),
            pointers=dict(self.pointers),
            registers={name: replace(t, splats={}) for name, t in self.registers.items()},
            pending=[],
        )


@dataclass(frozen=True)
class TaskGroup:
    """The tasks of a split loop: which group, how many it has, which of them this is (i64)."""

    number: ir.Value
    tasks: ir.Value
    task: ir.Value


def elements_per_lane(axis: str | None, pairs: str | None) -> int:
    """How many elements of an axis an element of a value holds."""
    return 2 if axis is not None and axis == pairs else 1


@dataclass
class Emission:
    """The state of one kernel's emission."""

    lir: LinearIR
    target: TargetMachine
    builder: ir.IRBuilder
    arguments: ir.Value
    entry: ir.IRBuilder
    fields: CallArgs
    scope: Scope = field(default_factory=Scope)
    tensors: Mapping[str, Tensor | Buffer] = field(default_factory=dict)
    loaded: dict[str, ir.Value] = field(default_factory=dict)
    group: TaskGroup | None = None
    next_task: ir.Block | None = None
    """Where a task ends."""
    claimed: ir.Value | None = None
    """Where the number of the next task is, if tasks claim it before they end."""

    @cached_property
    def shared(self) -> dict[str, Buffer]:
        """The buffers that tasks share."""
        return shared_buffers(self.lir)

    @property
    def width(self) -> int:
        """Elements of a vector."""
        return self.lir.width

    def field(self, name: str, type: ir.Type = I64) -> ir.Value:
        """A field of the call structure, loaded once at the head of the kernel."""
        if name not in self.loaded:
            self.loaded[name] = self.entry.load(self.field_address(self.entry, name), typ=type)
        return self.loaded[name]

    def field_address(self, builder: ir.IRBuilder, name: str) -> ir.Value:
        """The address of a field."""
        offset = ir.Constant(I64, 8 * self.fields.slot(name))
        return builder.gep(self.arguments, [offset], source_etype=I8)

    def vector_axis(self, axes: tuple[str, ...], pairs: str | None = None) -> str | None:
        """The axis in lanes of a value in the current scope, if its tile has whole vectors."""
        axis = self.lir.vector_axis(axes)
        whole = self.width * elements_per_lane(axis, pairs)
        return None if axis is None or self.scope.counts.get(axis, 1) % whole else axis

    def shape(self, dtype: str, axes: tuple[str, ...]) -> ir.Type:
        """The LLVM type of one value of a tile: a vector if the tile has an axis in lanes."""
        element = in_register(ELEMENT_TYPES[dtype])
        return ir.VectorType(element, self.width) if self.vector_axis(axes) else element

    def tile(
        self,
        type: ValueType,
        make: Callable[[Index], ir.Value],
        operands: tuple[Tile, ...] = (),
        make_element: Callable[[Index], ir.Value] | None = None,
    ) -> Tile:
        """A tile of the current scope whose values are made on demand."""
        vector = self.vector_axis(type.axes, type.pairs)
        width = self.width * elements_per_lane(vector, type.pairs)
        tile = Tile(type.dtype, type.axes, make, vector, width, make_element)
        tile.operands, tile.pairs = operands, type.pairs
        return tile

    def given(self, type: ValueType, values: dict[tuple[int, ...], ir.Value]) -> Tile:
        """A tile of the current scope whose values exist already."""

        def missing(index: Index) -> ir.Value:
            raise KeyError(f"no element at {dict(index)}")

        tile = self.tile(type, missing)
        tile.made = values
        return tile

    def indices(self, axes: tuple[str, ...], pairs: str | None = None) -> Iterator[dict[str, int]]:
        """The index of every value of a tile with these axes in the current scope."""
        vector = self.vector_axis(axes, pairs)
        return indices(axes, self.scope.counts, steps(vector, self.width, pairs))

    def element(self, tile: Tile, index: Index) -> ir.Value:
        """One element of a tile."""
        if tile.vector is None:
            return tile.at(index)
        if tile.make_element is not None:
            return tile.make_element(index)
        number = index.get(tile.vector, 0)
        lane = number % tile.width
        values = tile.at({**index, tile.vector: number - lane})
        return self.builder.extract_element(values, ir.Constant(I32, lane))

    def splat(self, tile: Tile, index: Index) -> ir.Value:
        """One element of a tile in every lane."""
        slot = tuple(index.get(axis, 0) for axis in tile.axes)
        if slot not in tile.splats:
            if tile.make_splat is not None and slot not in tile.made:
                tile.splats[slot] = tile.make_splat(index)
            else:
                element = self.element(tile, index)
                tile.splats[slot] = broadcast(self.builder, element, self.width)
        return tile.splats[slot]

    def operand(self, tile: Tile, index: Index, axes: tuple[str, ...]) -> ir.Value:
        """The operand for a result with ``axes``: in its lanes, or the same in all of them."""
        vector = self.vector_axis(axes)
        if vector == tile.vector:
            return tile.at(index)
        return self.element(tile, index) if vector is None else self.splat(tile, index)

    # Masked pieces.

    def is_partial(self, axis: str, first: int, held: int = 1) -> bool:
        """Whether a vector from ``first`` on may have elements beyond the end of an axis.

        Its lanes hold ``held`` elements each; what is certain to be there is whole vectors of 1.
        """
        last = first + (held - 1) * self.width
        return axis in self.scope.valid and last >= self.scope.whole[axis]

    def mask(self, axis: str, first: int, held: int = 1) -> ir.Value:
        """The valid lanes of a vector, each of ``held`` elements, computed once in a piece."""
        scope, valid = self.scope, self.scope.valid[axis]
        numbers = tuple(held * lane for lane in range(self.width))
        if isinstance(valid, ir.Constant):
            inside = [first + number < valid.constant for number in numbers]
            return ir.Constant(ir.VectorType(I1, self.width), inside)
        slot = ("mask", axis, first, held)
        if slot not in scope.cache:
            assert scope.preamble is not None
            rest = scope.preamble.sub(valid, ir.Constant(I64, first))
            wide = broadcast(scope.preamble, scope.preamble.trunc(rest, I32), self.width)
            lanes = lane_numbers(numbers)
            scope.cache[slot] = scope.preamble.icmp_signed("<", lanes, wide)
        return scope.cache[slot]

    def clamped(self, tensor: str, axis: str, number: int) -> ir.Value:
        """The bytes to element ``number`` of an axis, or to the last valid one."""
        scope, slot = self.scope, ("row", tensor, axis, number)
        if slot not in scope.cache:
            assert scope.preamble is not None
            last = scope.cache.get(("last", axis))
            if last is None:
                last = scope.preamble.sub(scope.valid[axis], ir.Constant(I64, 1))
                scope.cache["last", axis] = last
            wanted = ir.Constant(I64, number)
            inside = scope.preamble.icmp_signed("<", wanted, last)
            row = scope.preamble.select(inside, wanted, last)
            stride = self.stride(tensor, axis)
            scope.cache[slot] = scope.preamble.mul(row, stride)
        return scope.cache[slot]

    def stride(self, tensor: str, axis: str) -> ir.Value:
        """Bytes between neighbours along an axis of an input or output."""
        memory = self.lir.tensors[tensor]
        known = 1 if memory.unit_axis == axis else memory.increment(axis)
        if known is not None:
            return ir.Constant(I64, known * memory.element.bytes)
        return self.field(f"stride.{tensor}.{axis}")

    def indexed(self, tensor: str, axis: str, number: int) -> ir.Value:
        """The bytes to element ``number`` of an axis along which a tensor is read by index.

        What lies beyond the axis gets the last element's.
        """
        parts, builder = self.lir.tensors[tensor].parts, self.builder
        assert parts is not None
        place: ir.Value = ir.Constant(I64, number)
        if self.is_partial(axis, number):
            last = builder.sub(self.scope.valid[axis], ir.Constant(I64, 1))
            place = builder.select(builder.icmp_signed("<", place, last), place, last)
        index = builder.add(self.scope.index.get(axis, ir.Constant(I64, 0)), place)
        if inner := parts.inner(axis):
            index = builder.udiv(index, self.product(inner, parts))
        if not parts.is_outer(axis):
            index = builder.urem(index, self.product(parts.own(axis), parts))
        return builder.mul(index, self.stride(tensor, axis))

    def product(self, parts: tuple[str, ...], of: Parts) -> ir.Value:
        """The product of the sizes of parts, computed once a kernel if not compiled in."""
        if (known := of.size(parts)) is not None:
            return ir.Constant(I64, known)
        slot = f"product {' '.join(parts)}"
        if slot not in self.loaded:
            sizes = [self.field(f"size.{part}") for part in parts]
            self.loaded[slot] = reduce(self.entry.mul, sizes)
        return self.loaded[slot]
