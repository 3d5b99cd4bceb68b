"""Axis sizes: from the shapes of a call's tensors to the size of every axis.

Each dim of a tensor is a product of axes, so each gives an equation. A dim of size 1 gives one only
if nothing else says how long its axes are: it may broadcast. The sizes may be symbolic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from snipjit.errors import InputError
from snipjit.ir.parts import Parts
from snipjit.ir.subgraph import Block, Dim, Dimensioned


@dataclass(frozen=True)
class TensorSpec(Dimensioned):
    """One tensor of a kernel's call.

    dtype   a row of ``ELEMENT_TYPES``
    dims    each a product of axes, outer to inner
    order   the dims from outermost to innermost in memory; its last one has unit stride
    strict  dims that may not broadcast: size 1 there means that the axes have size 1
    block   an axis whose neighbours lie innermost in blocks of this size: the shape ends with it
    parts   its dims in the call, where these are of finer axes
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...]
    order: tuple[int, ...]
    strict: tuple[int, ...] = ()
    block: Block | None = None
    parts: Parts | None = None

    @property
    def told(self) -> tuple[Dim, ...]:
        """The dims as the call has them, in the finest axes."""
        return self.parts.dims if self.parts is not None else self.dims

    @property
    def owned(self) -> dict[str, Dim]:
        """What of each axis the tensor has: its parts, or itself."""
        return {axis: self.parts.own(axis) if self.parts else (axis,) for axis in self.axes}

    @property
    def sized(self) -> tuple[str, ...]:
        """The parts whose sizes its addresses are computed with."""
        return self.parts.sized if self.parts is not None else ()

    @property
    def blocked_dim(self) -> int | None:
        """The dim that counts blocks."""
        return self.dims.index((self.block[0],)) if self.block is not None else None

    def neighbours(self, dim: Dim) -> int:
        """How many elements along a dim lie in one of the blocks that it counts; 1 without any."""
        return self.block[1] if self.block is not None and dim == (self.block[0],) else 1


class _Equation(NamedTuple):
    """The product of ``axes`` is ``size``; if it is not ``firm``, the dim may broadcast instead."""

    tensor: TensorSpec
    dim: int
    size: int
    axes: Dim
    firm: bool

    def unknown(self, sizes: dict[str, int]) -> list[str]:
        return [axis for axis in self.axes if axis not in sizes]

    def product(self, sizes: dict[str, int]) -> int:
        return prod([sizes[axis] for axis in self.axes if axis in sizes])

    def error(self, sizes: dict[str, int]) -> InputError:
        known = " ".join(f"{axis}={sizes.get(axis, '?')}" for axis in self.axes)
        return InputError(
            f"dim {self.dim} of tensor {self.tensor.name!r} has size {self.size}, but by the "
            f"other dims and tensors it is [{known}]: make the sizes agree"
        )


def solve_axes(
    axes: Sequence[tuple[str, int | None]],
    tensors: Sequence[TensorSpec],
    shapes: Sequence[Sequence[int]],
) -> dict[str, int]:
    """The size of every axis, in the order of ``axes``; one that no tensor tells has size 1.

    Raises InputError if a rank, a static size or two dims of one axis do not agree, or if the
    factors of a merged dim cannot be told apart.
    """
    sizes = {axis: size for axis, size in axes if size is not None}
    sizes |= {part: size for t in tensors if t.parts for part, size in t.parts.known}
    equations = _equations(sizes, tensors, shapes)
    pending = _settle(equations, sizes)
    while pending:
        _default(next((eq for eq in pending if not eq.firm), pending[0]), sizes)
        pending = _settle(pending, sizes)
    for equation in equations:
        if equation.firm and equation.product(sizes) != equation.size:
            raise equation.error(sizes)
    for tensor, shape in zip(tensors, shapes, strict=True):
        _check_blocks(tensor, shape, sizes)
    parts = _multiply_parts(tensors, sizes)
    return {**parts, **{axis: sizes.get(axis, 1) for axis, _ in axes}}


def _multiply_parts(tensors: Sequence[TensorSpec], sizes: dict[str, int]) -> dict[str, int]:
    """The sizes of all parts; those of axes that have some enter ``sizes``."""
    found: dict[str, int] = {}
    for axis, parts in {row: None for t in tensors if t.parts for row in t.parts.whole}:
        found |= {part: sizes.get(part, 1) for part in parts}
        size = prod([found[part] for part in parts])
        if sizes.setdefault(axis, size) != size:
            shown = " × ".join(str(found[part]) for part in parts)
            raise InputError(f"axis {axis} has size {sizes[axis]}, not {shown}: pass its parts")
    return found


def _check_blocks(tensor: TensorSpec, shape: Sequence[int], sizes: dict[str, int]) -> None:
    if tensor.block is None or tensor.blocked_dim is None:
        return
    axis, block = tensor.block
    size = sizes.get(axis, 1)
    wanted, found = (-(-size // block), block), (shape[tensor.blocked_dim], shape[-1])
    if found != wanted:
        raise InputError(
            f"tensor {tensor.name!r} has {found[0]} blocks of {found[1]}, but {axis}={size} "
            f"takes {wanted[0]} of {wanted[1]}: prepare it anew"
        )


def undetermined(
    axes: Sequence[tuple[str, int | None]], dims_per_tensor: Sequence[tuple[Dim, ...]]
) -> list[str]:
    """The axes whose sizes no call could tell: only products with other such axes hold them."""
    known = {axis for axis, size in axes if size is not None}
    dims = [set(dim) for dims in dims_per_tensor for dim in dims]
    while (found := next((dim - known for dim in dims if len(dim - known) == 1), None)) is not None:
        known |= found
    return sorted({axis for dim in dims for axis in dim - known})


def _equations(
    static: dict[str, int], tensors: Sequence[TensorSpec], shapes: Sequence[Sequence[int]]
) -> list[_Equation]:
    equations = []
    for tensor, shape in zip(tensors, shapes, strict=True):
        rank = len(tensor.told) + (tensor.block is not None)
        if len(shape) != rank:
            raise InputError(
                f"tensor {tensor.name!r} has rank {len(shape)}, but the program was compiled for "
                f"rank {rank}: pass a tensor of that rank or compile again"
            )
        for index, (size, dim) in enumerate(zip(shape, tensor.told, strict=False)):
            if index == tensor.blocked_dim:
                continue
            broadcasts = size == 1 and index not in tensor.strict
            firm = not broadcasts or any(static.get(axis, 1) != 1 for axis in dim)
            equations.append(_Equation(tensor, index, size, dim, firm))
    return equations


def _settle(pending: list[_Equation], sizes: dict[str, int]) -> list[_Equation]:
    """Solve firm equations with one unknown until none is left; returns those with unknowns."""
    before = -1
    while before != len(sizes):
        before = len(sizes)
        unsolved = []
        for equation in pending:
            unknown = equation.unknown(sizes)
            if equation.firm and len(unknown) == 1 and (known := equation.product(sizes)) != 0:
                sizes[unknown[0]] = equation.size // known
            elif unknown:
                unsolved.append(equation)
        pending = unsolved
    return pending


def _default(equation: _Equation, sizes: dict[str, int]) -> None:
    """Give size 1 to the unknown axes of a dim of size 1, and of a product that is 0 anyway."""
    if equation.size != 1 and equation.product(sizes) != 0:
        raise equation.error(sizes)
    for axis in equation.unknown(sizes):
        sizes[axis] = 1
