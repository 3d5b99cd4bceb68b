"""Interface: what the kernels of a structure are called with, as their Subgraph says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from types import MappingProxyType
from typing import NamedTuple

from snipjit.ir.axis_sizes import TensorSpec, solve_axes
from snipjit.ir.call_args import shared_fields

Ints = tuple[int, ...]
Shapes = Sequence[Sequence[int]]
"""The shape of each input in turn."""

Wanted = Mapping[int, Ints]
"""Strides (elements) of outputs, by number, where they are not the interface's."""

NO_STRIDES: Wanted = MappingProxyType({})


class Gathered(NamedTuple):
    """An input that is read by index along a dim, and the one that holds the indices."""

    table: int
    dim: int
    indices: int


@dataclass(frozen=True)
class Interface:
    """Tensors and scalars of a call, the same for every kernel of a structure.

    axes     every axis with its size, None if the call decides it
    counted  numbers of the scalars that are added to indices
    indexed  axes along which indices are counted
    gathered what is read by index
    label    what is computed, in a few words, for people
    """

    axes: tuple[tuple[str, int | None], ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    scalars: tuple[str, ...] = ()
    counted: Ints = ()
    indexed: tuple[str, ...] = ()
    gathered: tuple[Gathered, ...] = ()
    label: str = "kernel"

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The slots of CallArgs that every kernel has, in the places that they have there."""
        return shared_fields((*self.inputs, *self.outputs), self.scalars, bool(self.gathered))

    def sizes(self, shapes: Shapes) -> dict[str, int]:
        """The size of every axis for these input shapes, which may be symbolic.

        Raises InputError if they do not fit.
        """
        return solve_axes(self.axes, self.inputs, shapes)

    def output_layouts(self, sizes: Mapping[str, int]) -> list[tuple[Ints, Ints]]:
        """Shape and strides (elements) of each output; sizes may be symbolic."""
        return [output_layout(spec, sizes) for spec in self.outputs]


def output_layout(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[Ints, Ints]:
    """Shape and strides (elements) of an output that is dense in its memory order."""
    shape = tuple([prod([sizes[axis] for axis in dim]) for dim in spec.told])
    if spec.block is None:
        return shape, dense(shape, spec.order)
    (axis, block), at = spec.block, spec.blocked_dim
    blocks = -(-sizes[axis] // block)
    shape = (*(blocks if i == at else size for i, size in enumerate(shape)), block)
    return shape, dense(shape, (*spec.order, len(spec.dims)))


def dense(shape: Sequence[int], order: Sequence[int] | None = None) -> Ints:
    """Strides (elements) of a dense tensor with the given memory order, as torch counts them."""
    strides = [1] * len(shape)
    step = 1
    for index in reversed(order if order is not None else range(len(shape))):
        strides[index] = step
        step = step * (1 if shape[index] == 0 else shape[index])
    return tuple(strides)
