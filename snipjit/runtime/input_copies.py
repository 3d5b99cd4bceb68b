"""Copies of inputs that do not lie in memory as a kernel reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from snipjit.errors import InputError
from snipjit.ir.axis_sizes import TensorSpec
from snipjit.runtime.interface import Interface, Ints, Shapes, Wanted, dense


@dataclass(frozen=True)
class InputCopy:
    """An input that needs a dense copy: the view of its storage (elements) whose copy serves."""

    shape: Ints
    strides: Ints


def dense_copies(
    inputs: Sequence[TensorSpec], sizes: Mapping[str, int], shapes: Shapes, strides: Shapes
) -> dict[int, InputCopy]:
    """By number, the inputs whose innermost dim holds an axis and is not laid out with stride 1,
    or of which the dims of one axis are not laid out as one."""
    copies = {}
    for i, (spec, shape, stride) in enumerate(zip(inputs, shapes, strides, strict=True)):
        if spec.block is not None:
            if tuple(stride) != dense(shape):
                copies[i] = _dense_copy({len(spec.dims): spec.block[1]}, shape, stride)
            continue
        extents = [prod([sizes[axis] for axis in dim]) for dim in spec.told]
        moves = [step if size != 1 else 0 for size, step in zip(shape, stride, strict=True)]
        wanted = [] if _is_unit(spec, extents, moves) else [spec.order[-1]]
        for dims in _joined(spec):
            long = [dim for dim in dims if extents[dim] != 1]
            if not all(_follows(extents, moves, *pair) for pair in pairwise(long)):
                wanted += dims
        if wanted:
            copies[i] = _dense_copy({dim: extents[dim] for dim in wanted}, shape, stride)
    return copies


def output_layouts(
    interface: Interface, sizes: Mapping[str, int], wanted: Wanted
) -> list[tuple[Ints, Ints]]:
    """Shape and strides of each output. Raises InputError for one that would have to be a copy."""
    own = interface.output_layouts(sizes)
    outputs = [(shape, wanted.get(i, strides)) for i, (shape, strides) in enumerate(own)]
    if wanted and dense_copies(interface.outputs, sizes, *zip(*outputs, strict=True)):
        raise InputError(f"outputs with strides {dict(wanted)}: kernels write rows of one")
    return outputs


def _is_unit(spec: TensorSpec, extents: Sequence[int], moves: Sequence[int]) -> bool:
    """Whether the innermost axis has stride 1, if a kernel relies on that."""
    inner = spec.order[-1] if spec.order else -1
    if inner < 0 or not spec.dims[inner]:
        return True
    return extents[inner] <= 1 or moves[inner] == 1


def _joined(spec: TensorSpec) -> list[list[int]]:
    """The dims that hold parts of one axis, of each axis that has them in several."""
    dims = [
        [number for number, dim in enumerate(spec.told) if {*dim} & {*own}]
        for own in spec.owned.values()
    ]
    return [numbers for numbers in dims if len(numbers) > 1]


def _follows(extents: Sequence[int], moves: Sequence[int], outer: int, inner: int) -> bool:
    """Whether a step along a dim is as far as all of the next one."""
    return moves[outer] == moves[inner] * extents[inner]


def _dense_copy(full: Mapping[int, int], shape: Sequence[int], strides: Sequence[int]) -> InputCopy:
    """Copy some dims in full, as far as told, the others without the repetitions of a stride 0."""
    kept = [
        min(size, 1) if stride == 0 else size for size, stride in zip(shape, strides, strict=True)
    ]
    moves = [stride if size != 1 else 0 for size, stride in zip(shape, strides, strict=True)]
    for dim, extent in full.items():
        kept[dim] = extent
    return InputCopy(tuple(kept), tuple(moves))
