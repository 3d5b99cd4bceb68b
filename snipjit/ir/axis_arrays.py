"""Arrays by named axes, for the interpreters: sizes from shapes, views, alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from snipjit.errors import IndexRangeError
from snipjit.ir.axis_sizes import TensorSpec, solve_axes
from snipjit.ir.parts import Parts
from snipjit.ir.subgraph import Block, Dim
from snipjit.ir.tensors import Tensor


def solve_axis_sizes(
    axes: Mapping[str, int | None],
    dims_per_tensor: Sequence[tuple[Dim, ...]],
    shapes: Sequence[Sequence[int]],
) -> dict[str, int]:
    """The size of every axis, from static sizes and the shapes of tensors.

    A dim of size 1 may broadcast, so it tells nothing of its axes; an axis that nothing tells has
    size 1. Raises InputError where a rank, a static size or two dims of an axis disagree, or where
    the factors of a product cannot be told apart.
    """
    tensors = [Tensor(f"#{number}", "f32", dims) for number, dims in enumerate(dims_per_tensor)]
    return sizes_of_tensors(axes, tensors, shapes)


def sizes_of_tensors(
    axes: Mapping[str, int | None], tensors: Sequence[Tensor], shapes: Sequence[Sequence[int]]
) -> dict[str, int]:
    """The same of tensors that may lie in blocks, or have parts, whose sizes are among them."""
    specs = [
        TensorSpec(tensor.name, tensor.dtype, tensor.dims, (), (), tensor.block, tensor.parts)
        for tensor in tensors
    ]
    return solve_axes(tuple(axes.items()), specs, shapes)


def view_by_axes(
    array: np.ndarray,
    dims: tuple[Dim, ...],
    sizes: Mapping[str, int],
    block: Block | None = None,
    parts: Parts | None = None,
) -> np.ndarray:
    """The array with one dimension an axis, in the order of ``dims``; dims of size 1 broadcast."""
    if parts is not None:
        return _whole_axes(view_by_axes(array, parts.dims, sizes), dims, sizes, parts)
    array = without_blocks(array, dims, block, sizes)
    paired = zip(dims, array.shape, strict=True)
    split = [1 if size == 1 else sizes[axis] for dim, size in paired for axis in dim]
    whole = [sizes[axis] for dim in dims for axis in dim]
    return np.broadcast_to(array.reshape(split), whole)


def _whole_axes(
    array: np.ndarray, dims: tuple[Dim, ...], sizes: Mapping[str, int], parts: Parts
) -> np.ndarray:
    """An array with one dimension a part, brought to one an axis: lacking parts repeat it."""
    axes = [axis for dim in dims for axis in dim]
    every = [part for axis in axes for part in parts.all(axis)]
    opened = array.reshape([sizes[part] if part in parts.axes else 1 for part in every])
    whole = np.broadcast_to(opened, [sizes[part] for part in every])
    return whole.reshape([sizes[axis] for axis in axes])


def without_blocks(
    array: np.ndarray, dims: tuple[Dim, ...], block: Block | None, sizes: Mapping[str, int]
) -> np.ndarray:
    """An array as its dims say, of one whose last dim holds neighbours along an axis."""
    if block is None:
        return array
    at = dims.index((block[0],))
    flat = np.moveaxis(array, -1, at + 1)
    whole = flat.reshape([*flat.shape[:at], -1, *flat.shape[at + 2 :]])
    return whole.take(range(sizes[block[0]]), axis=at)


def in_blocks(array: np.ndarray, dims: tuple[Dim, ...], block: Block | None) -> np.ndarray:
    """The other way round; what the last block has too much is 0."""
    if block is None:
        return array
    at, size = dims.index((block[0],)), block[1]
    more = [(0, 0)] * array.ndim
    more[at] = (0, -array.shape[at] % size)
    padded = np.pad(array, more)
    split = padded.reshape([*padded.shape[:at], -1, size, *padded.shape[at + 1 :]])
    return np.moveaxis(split, at + 1, -1)


def align(array: np.ndarray, own: tuple[str, ...], axes: tuple[str, ...]) -> np.ndarray:
    """The array with dimensions ``own`` brought to ``axes``, with size 1 where it has none.

    Raises ValueError if it has an axis that is not among ``axes``.
    """
    if own == axes:
        return array
    order = [own.index(axis) for axis in axes if axis in own]
    if len(order) != len(own):
        extra = ", ".join(axis for axis in own if axis not in axes)
        raise ValueError(f"an operand has axes {extra}, which the result lacks")
    shape = [array.shape[own.index(axis)] if axis in own else 1 for axis in axes]
    return array.transpose(order).reshape(shape)


def gathered(
    array: np.ndarray,
    own: tuple[str, ...],
    index: np.ndarray,
    others: tuple[str, ...],
    axis: str,
    axes: tuple[str, ...],
) -> np.ndarray:
    """Elements of an array with dimensions ``own``, by index along an axis, as dimensions ``axes``.

    The indices have dimensions ``others``. Raises IndexRangeError for one that is none.
    """
    size = array.shape[own.index(axis)]
    if index.size and not 0 <= index.min() <= index.max() < size:
        raise IndexRangeError(f"index out of range: axis {axis} has {size} elements")
    sizes = dict(zip(own, array.shape, strict=True))
    grid = {name: align(np.arange(sizes[name]), (name,), axes) for name in own if name != axis}
    grid[axis] = align(index, others, axes)
    return np.asarray(array[tuple(grid[name] for name in own)])


def registers(floats: np.dtype[Any]) -> dict[str, np.dtype[Any]]:
    """What arrays hold for each element type of registers, for ``f32`` some floats."""
    whole: dict[str, Any] = {"i32": np.int32, "i64": np.int64, "i1": np.bool_}
    return {"f32": floats, **{name: np.dtype(held) for name, held in whole.items()}}


def unset(dtype: np.dtype[Any]) -> float:
    """What an array holds that was never written: NaN, but 0 of whole numbers."""
    return np.nan if dtype.kind == "f" else 0
