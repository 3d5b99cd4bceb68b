"""The NumPy meaning of LinearIR after any pass: what every pass and kernel is compared with.

Every axis has a current range: the whole axis, or what the loops around select. A value owns an
array over its whole axes, of which an Expression reads and writes the current part; what was never
written is NaN. Before its decomposition a reduction accumulates through those loops over its axes
that its value leaves. Buffers with offsets share one scratchpad.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from snipjit.errors import InputError, VerificationError
from snipjit.ir.axis_arrays import (
    align,
    gathered,
    in_blocks,
    registers,
    sizes_of_tensors,
    unset,
    view_by_axes,
)
from snipjit.ir.element_types import Array, Typed, round_to
from snipjit.ir.expression import Expression
from snipjit.ir.interpret.loops import Chunk, carried_reductions, chunks, iterations
from snipjit.ir.interpret.reductions import product, reduced
from snipjit.ir.interpret.steps import loaded
from snipjit.ir.linear_ir import LinearIR, Loop, Statement, is_kind
from snipjit.ir.loop_limits import Limit
from snipjit.ir.loop_nest import join_of, shared_buffers
from snipjit.ir.operations import ELEMENTWISE, MONOIDS
from snipjit.ir.tensors import Buffer, Tensor
from snipjit.ir.text.linear import around


def interpret(
    lir: LinearIR,
    tensors: Sequence[Array],
    scalars: Sequence[float] = (),
    dtype: type[np.floating[Any]] = np.float64,
) -> list[Array]:
    """The outputs for inputs and scalars in the order of ``lir``; ``f32`` is computed as ``dtype``.

    Raises InputError for inputs that do not fit, VerificationError for what the IR does wrong.
    """
    if len(tensors) != len(lir.inputs) or len(scalars) != len(lir.scalars):
        raise InputError(
            f"{lir.name} takes {len(lir.inputs)} tensors and {len(lir.scalars)} scalars, "
            f"got {len(tensors)} and {len(scalars)}"
        )
    machine = _Machine(lir, tensors, scalars, np.dtype(dtype))
    with np.errstate(all="ignore"):
        machine.block(lir.body)
    return [machine.result(tensor) for tensor in lir.outputs]


class _Machine:
    """The state of one run: current ranges, values, memory."""

    def __init__(
        self,
        lir: LinearIR,
        tensors: Sequence[Array],
        scalars: Sequence[float],
        dtype: np.dtype[Any],
    ) -> None:
        self.lir = lir
        self.registers = registers(dtype)
        self.sizes = sizes_of_tensors(lir.axes, lir.inputs, [array.shape for array in tensors])
        self.ranges = {axis: (0, size) for axis, size in self.sizes.items()}
        self.origins: dict[str, dict[str, int]] = {}
        self.arrays: dict[str, tuple[tuple[str, ...], Array]] = {}
        buffers = lir.buffers()
        self.held = {out.name: out.dtype for out in lir.outputs}
        self.held |= {name: buffer.dtype for name, buffer in buffers.items()}
        floats = (b.element.bytes for b in buffers.values() if b.element.register == "f32")
        self.scale = dtype.itemsize // min(floats, default=4)
        self.shared = shared_buffers(lir)
        self.chunk, self.scratch = Chunk((0, 0), 0, 1, True), self._scratchpad()
        self.carried = carried_reductions(lir)
        for tensor, array in zip(lir.inputs, tensors, strict=True):
            typed = round_to(tensor.dtype, np.asarray(array).astype(self._held_as(tensor)))
            held = view_by_axes(typed, tensor.dims, self.sizes, tensor.block, tensor.parts)
            self.arrays[tensor.name] = tensor.axes, held
        for tensor in lir.outputs:
            self.arrays[tensor.name] = tensor.axes, self._empty(tensor, tensor.axes)
        for name, value in zip(lir.scalars, scalars, strict=True):
            self.arrays[name] = (), np.array(value, dtype)
        self.scalars = dict(zip(lir.scalars, scalars, strict=True))
        self.arrays |= loaded(lir.inputs, self.arrays)

    def result(self, tensor: Tensor) -> Array:
        """An output in the shape of its dims."""
        told = tensor.dims if tensor.parts is None else tensor.parts.dims
        shape = [prod(self.sizes[axis] for axis in dim) for dim in told]
        return in_blocks(self.arrays[tensor.name][1].reshape(shape), tensor.dims, tensor.block)

    def block(self, body: list[Statement]) -> None:
        """Run statements in order."""
        for statement in body:
            if is_kind(statement, "join"):
                if not self._goes_on(statement):
                    return
            elif is_kind(statement, "retry"):
                self._retry(statement)
            elif is_kind(statement, "once"):
                self.block(statement.body)
            elif isinstance(statement, Loop) and (join := join_of(statement)):
                self._split(statement, join)
            elif isinstance(statement, Loop):
                self._loop(statement)
            elif isinstance(statement, Buffer):
                self._declare(statement)
            else:
                self._expression(statement)

    def _fault(self, statement: Statement, message: str) -> VerificationError:
        ranges = ", ".join(f"{axis} {a}..{b}" for axis, (a, b) in self.ranges.items())
        return VerificationError(f"{message} (at {ranges})\n{around(self.lir, statement)}")

    # Loops

    def _retry(self, retry: Loop) -> None:
        before = self._is_set(retry.flag, retry)
        self.block(retry.body)
        if not before and self._is_set(retry.flag, retry):
            self.block(retry.body)

    def _is_set(self, name: str, statement: Statement) -> bool:
        return bool(self._current(name, statement)[1].item())

    def _limits(self, loop: Loop, own: bool) -> list[Limit]:
        """The limits of the loop's own axis or of others, as far as they hold now."""
        limits = [limit for limit in loop.limits if (limit.axis == loop.axis) == own]
        return [limit for limit in limits if not limit.when or self._is_set(limit.when, loop)]

    def _loop(self, loop: Loop) -> None:
        whole = self.ranges[loop.axis]
        for limit in self._limits(loop, own=True):
            self.ranges[loop.axis] = limit.within(self.ranges, self.scalars)
        start, stop = self.ranges[loop.axis]
        start -= (start - whole[0]) % loop.step
        for e in self.carried.get(id(loop), ()):
            self._write(e, np.array(MONOIDS[e.attrs.get("monoid", "sum")].identity))
        position = start
        for piece, count in iterations(loop, stop - start, self.lir.width):
            before = dict(self.ranges)
            self.ranges[loop.axis] = position, position + count
            for limit in self._limits(loop, own=False):
                self.ranges[limit.axis] = limit.left(self.ranges, self.scalars)
            self.block(piece.body)
            self.ranges = before
            position += count
        self.ranges[loop.axis] = whole
        if position < stop:
            left = f"{stop - position} of {stop - start} elements of axis {loop.axis}"
            raise self._fault(loop, f"no piece of the loop covers the last {left}: add a tail")

    def _split(self, loop: Loop, join: Loop) -> None:
        before = self.ranges[loop.axis]
        for chunk in chunks(loop, before[1], self.sizes[join.axis]):
            self.chunk, self.ranges[loop.axis] = chunk, chunk.range
            self.block(loop.body)
        self.ranges[loop.axis] = before

    def _goes_on(self, join: Loop) -> bool:
        """Whether this chunk is the last to come to the join, or the only one."""
        chunk, before = self.chunk, self.ranges[join.axis]
        if chunk.count > 1:
            self.ranges[join.axis] = chunk.number, chunk.number + 1
            self.block(join.body)
            self.ranges[join.axis] = 0, chunk.count
            self.block(join.last if chunk.is_last else [])
        self.ranges[join.axis] = before
        return chunk.is_last

    # Expressions

    def _expression(self, e: Expression) -> None:
        if e.op == "store":
            return self._store(e)
        if e.op in ("prefetch", "pad", "claim"):  # here a masked sum ends where the block ends
            return
        try:
            value = self._value(e)
        except (ValueError, KeyError) as error:
            raise self._fault(e, f"cannot evaluate {e.op}: {error}") from error
        self._write(e, value)

    def _value(self, e: Expression) -> Array:
        if e.op not in ELEMENTWISE:
            return _OPERATIONS[e.op](self, e)
        return np.asarray(ELEMENTWISE[e.op].numpy(*(self._aligned(name, e) for name in e.inputs)))

    def _load(self, e: Expression) -> Array:
        if len(e.inputs) == 1:
            return self._aligned(e.inputs[0], e)
        table, index = (self._current(name, e)[::-1] for name in e.inputs)
        return gathered(*table, *index, e.attrs["axis"], e.type.axes)

    def _fill(self, e: Expression) -> Array:
        return np.array(e.attrs["value"], self._held_as(e.type))

    def _iota(self, e: Expression) -> Array:
        return align(np.arange(*self.ranges[e.attrs["axis"]]), (e.attrs["axis"],), e.type.axes)

    def _product(self, e: Expression) -> Array:
        value = product(e, *(self._current(name, e) for name in e.inputs[:2]))
        if len(e.inputs) == 3:
            return np.asarray(value + self._aligned(e.inputs[2], e))
        return self._accumulated(e, value)

    def _reduction(self, e: Expression) -> Array:
        return self._accumulated(e, reduced(e, *self._current(e.inputs[0], e), self.sizes))

    def _accumulated(self, e: Expression, value: Array) -> Array:
        """The value combined with what loops have accumulated, if they do."""
        if id(e) not in self.carried:
            return value
        combine = ELEMENTWISE[MONOIDS[e.attrs.get("monoid", "sum")].combine].numpy
        return np.asarray(combine(self._aligned(e.output or "", e), value))

    # Memory

    def _current(self, name: str, e: Statement) -> tuple[tuple[str, ...], Array]:
        """The part of a value or tensor at the current ranges, and its axes."""
        if name not in self.arrays:
            raise self._fault(e, f"%{name} is not defined")
        axes, array = self.arrays[name]
        origin = self.origins.get(name, {})
        index: list[Any] = [...]
        for axis, extent in zip(axes, array.shape, strict=True):
            start, stop = (end - origin.get(axis, 0) for end in self.ranges[axis])
            if start < 0 or stop > extent:
                raise self._fault(e, f"%{name} holds {extent} of axis {axis}, not {start}..{stop}")
            index.append(slice(start, stop))
        return axes, array[tuple(index)]

    def _aligned(self, name: str, e: Expression) -> Array:
        axes, array = self._current(name, e)
        return align(array, axes, e.type.axes)

    def _write(self, e: Expression, value: Array) -> None:
        assert e.output is not None
        if e.output not in self.arrays:
            self.arrays[e.output] = e.type.axes, self._empty(e.type, e.type.axes)
        axes, target = self._current(e.output, e)
        if axes != e.type.axes:
            raise self._fault(e, f"%{e.output} has axes [{' '.join(axes)}] elsewhere")
        target[...] = round_to(e.type.dtype, value)

    def _store(self, e: Expression) -> None:
        name, value = e.inputs
        axes, target = self._current(name, e)
        own, array = self._current(value, e)
        missing = tuple(i for i, axis in enumerate(own) if axis not in axes)
        if any(array.shape[i] != 1 for i in missing):
            raise self._fault(e, f"%{name} has no axis for {len(missing)} axes of %{value}")
        kept = align(array.squeeze(missing), tuple(axis for axis in own if axis in axes), axes)
        target[...] = round_to(self.held[name], kept)

    def _declare(self, buffer: Buffer) -> None:
        shape, dtype = tuple(buffer.extents.values()), self._held_as(buffer)
        if buffer.offset is None or buffer.name in self.shared:
            array = np.empty(shape, dtype)
        else:
            memory = self.scratch[buffer.offset * self.scale :][: buffer.elements * dtype.itemsize]
            array = memory.view(dtype).reshape(shape)
        array[...] = unset(dtype)
        self.arrays[buffer.name] = buffer.axes, array
        self.origins[buffer.name] = {axis: self.ranges[axis][0] for axis in buffer.axes}

    def _empty(self, held: Typed, axes: tuple[str, ...]) -> Array:
        dtype, sizes = self._held_as(held), [self.sizes[axis] for axis in axes]
        return np.full(sizes, unset(dtype), dtype)

    def _held_as(self, held: Typed) -> np.dtype[Any]:
        """The type of the arrays that stand for an element type."""
        return self.registers[held.element.register]

    def _scratchpad(self) -> Array:
        """Bytes for all buffers, larger than the kernel's where ``f32`` is computed as float64."""
        ends = [(b.offset or 0) + b.elements * b.element.bytes for b in self.lir.buffers().values()]
        return np.zeros(max(ends, default=0) * self.scale, np.uint8)


_OPERATIONS: dict[str, Callable[[_Machine, Expression], Array]] = {
    "load": _Machine._load,
    "fill": _Machine._fill,
    "iota": _Machine._iota,
    "fma": _Machine._product,
    "sum_lanes": _Machine._load,  # here no sum is in parts
    "brgemm": _Machine._product,
    "horizon": _Machine._reduction,
    "reduce": _Machine._reduction,
}
