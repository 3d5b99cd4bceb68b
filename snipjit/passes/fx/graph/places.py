"""Where a part of a tensor lies in it: by numbers, slices, a diagonal or a boolean mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import Size, is_tensor, normal_dim, same, tensor, value
from snipjit.torch_private import true_or_false

Index = int | fx.Node
"""A literal number, which counts from the end below 0, or a symbol, which does not."""

# Anything past this end is "to the end" in ATen.
_FAR = 2**31


@dataclass(frozen=True)
class At:
    """One index of a dim."""

    number: Index


@dataclass(frozen=True)
class Span:
    """Indices of a dim: from ``start``, below ``stop`` or to the end."""

    start: Index
    stop: Index | None


@dataclass(frozen=True)
class Diagonal:
    """Where the index of the dim ``column`` is that of ``row`` plus ``offset``."""

    row: int
    column: int
    offset: int


@dataclass(frozen=True)
class Mask:
    """Where a boolean tensor is true, whose dims are the tensor's from ``first`` on."""

    node: fx.Node
    first: int


@dataclass(frozen=True)
class Place:
    """A part of a tensor: ``parts`` for each of its dims (None: whole), and what else limits it.

    ``dims`` has, for each dim of the part, the dim of the tensor that it is; None for one that is
    new, a diagonal or what a mask selects.
    """

    parts: tuple[At | Span | None, ...]
    dims: tuple[int | None, ...]
    diagonal: Diagonal | None = None
    mask: Mask | None = None

    @staticmethod
    def whole(node: fx.Node) -> Place:
        """All of a tensor."""
        rank = tensor(node).dim()
        return Place((None,) * rank, tuple(range(rank)))

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the tensor, if in another order."""
        return not (any(self.parts) or self.diagonal or self.mask)

    @property
    def is_plain(self) -> bool:
        """Whether it is the tensor itself."""
        return self.is_whole and self.dims == tuple(range(len(self.parts)))

    def select(self, dim: int, number: Any) -> Place:
        """One index of a dim, which is gone."""
        dim = normal_dim(dim, len(self.dims))
        return replace(
            self._limited(dim, At(_index(number))), dims=(*self.dims[:dim], *self.dims[dim + 1 :])
        )

    def slice(self, dim: int, cut: slice, size: Size) -> Place:
        """A slice of a dim of the given size."""
        dim = normal_dim(dim, len(self.dims))
        if cut.step not in (None, 1):
            raise RefusedError("a slice in steps; accepted: steps of 1")
        start = 0 if cut.start is None else _index(cut.start)
        stop = None if _is_far(cut.stop, size) else _index(cut.stop)
        if stop is None and isinstance(start, int) and start == 0:
            return self
        return self._limited(dim, Span(start, stop))

    def _limited(self, dim: int, part: At | Span) -> Place:
        own = self.dims[dim]
        if own is None or self.parts[own] is not None:
            raise RefusedError("a dim is indexed twice; accepted: once")
        return replace(self, parts=(*self.parts[:own], part, *self.parts[own + 1 :]))

    def cut(self, offset: int, row: int, column: int) -> Place:
        """A diagonal of two whole dims; it is the last dim of the part."""
        pair = [normal_dim(dim, len(self.dims)) for dim in (row, column)]
        row_dim, column_dim = (self.dims[dim] for dim in pair)
        whole = [dim is not None and self.parts[dim] is None for dim in (row_dim, column_dim)]
        if row_dim is None or column_dim is None or not all(whole) or self.diagonal:
            raise RefusedError("a diagonal of a part; accepted: of whole dims")
        rest = [dim for i, dim in enumerate(self.dims) if i not in pair]
        diagonal = Diagonal(row_dim, column_dim, offset)
        return replace(self, dims=(*rest, None), diagonal=diagonal)

    def masked(self, dim: int, node: fx.Node) -> Place:
        """What a mask selects from dims that begin with ``dim``; it is one dim of the part."""
        rank = tensor(node).dim()
        own = self.dims[dim : dim + rank]
        first = own[0] if own else None
        if first is None or own != tuple(range(first, first + rank)) or self.mask:
            raise RefusedError("a mask of a part; accepted: of whole dims in order")
        if any(self.parts[first : first + rank]) or self.diagonal:
            raise RefusedError("a mask of a part; accepted: of whole dims in order")
        dims = (*self.dims[:dim], None, *self.dims[dim + rank :])
        return replace(self, dims=dims, mask=Mask(node, first))

    def reorder(self, order: Sequence[int]) -> Place:
        """The dims of the part in another order."""
        return replace(self, dims=tuple(self.dims[dim] for dim in order))

    def insert(self, dim: int) -> Place:
        """The part with a new dim of size 1."""
        return replace(self, dims=(*self.dims[:dim], None, *self.dims[dim:]))

    def of_whole(self, outer: Place) -> Place:
        """The same limits by the dims of the whole, ``self`` being a part of the part ``outer``."""
        parts: list[At | Span | None] = [None] * len(outer.parts)
        for dim, part in enumerate(self.parts):
            if part is not None:
                parts[outer.own(dim)] = part
        diagonal, mask = self.diagonal, self.mask
        if diagonal is not None:
            row, column = outer.own(diagonal.row), outer.own(diagonal.column)
            diagonal = Diagonal(row, column, diagonal.offset)
        if mask is not None:
            taken = [outer.own(mask.first + i) for i in range(tensor(mask.node).dim())]
            if taken != list(range(taken[0], taken[0] + len(taken))):
                raise RefusedError("a mask of a part; accepted: of whole dims in order")
            mask = Mask(mask.node, taken[0])
        dims = tuple(None if dim is None else outer.dims[dim] for dim in self.dims)
        return Place(tuple(parts), dims, diagonal, mask)

    def own(self, dim: int) -> int:
        """The dim of the whole that a dim of the part is; refused if it is limited."""
        found = self.dims[dim]
        if found is None or self.parts[found] is not None:
            raise RefusedError("a dim is indexed twice; accepted: once")
        return found

    def both(self, other: Place) -> Place:
        """Where both limits hold, with the dims of ``other``."""
        if (self.diagonal or self.mask) and (other.diagonal or other.mask):
            raise RefusedError("two masks or diagonals; accepted: one")
        parts = tuple(a or b for a, b in zip(self.parts, other.parts, strict=True))
        diagonal = self.diagonal or other.diagonal
        return Place(parts, other.dims, diagonal, self.mask or other.mask)

    def index(self, index: Any, shape: Sequence[Size]) -> Place:
        """What ``part[index]`` is, ``shape`` being that of the part."""
        items = _spread(index, len(shape))
        if any(_is_mask(item) for item in items) and any(map(_is_number, items)):
            raise RefusedError("a mask and numbers together; accepted: a mask and slices")
        found, dim, own = self, 0, 0
        for item in items:
            if item is None:
                found, dim = found.insert(dim), dim + 1
            elif isinstance(item, slice):
                found = found.slice(dim, item, shape[own])
                dim, own = dim + 1, own + 1
            elif _is_mask(item):
                found = found.masked(dim, item)
                dim, own = dim + 1, own + tensor(item).dim()
            else:
                found, own = found.select(dim, item), own + 1
        return found


def _spread(index: Any, rank: int) -> list[Any]:
    """The items of an index with slices in the place of an ellipsis."""
    items = list(index) if isinstance(index, tuple) else [index]
    counts = [0 if i is None or i is Ellipsis else _count(i) for i in items]
    rest = [slice(None)] * (rank - sum(counts))
    places = [place for place, item in enumerate(items) if item is Ellipsis] or [len(items)]
    return [*items[: places[0]], *rest, *items[places[0] + 1 :]]


def _count(item: Any) -> int:
    """How many dims an item of an index takes."""
    return tensor(item).dim() if _is_mask(item) else 1


def _is_mask(item: Any) -> bool:
    return is_tensor(item) and tensor(item).dtype == torch.bool and tensor(item).dim() > 0


def _is_number(item: Any) -> bool:
    return not (item is None or isinstance(item, slice) or _is_mask(item))


def _index(number: Any) -> Index:
    """A number of an index; a symbol must not count from the end."""
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    found = value(number) if isinstance(number, fx.Node) else None
    if not isinstance(found, torch.SymInt):
        raise RefusedError(
            "an index that is a tensor or a list; accepted: numbers, slices, one boolean mask"
        )
    if not true_or_false(found >= 0):
        raise RefusedError("an index that may count from the end; accepted: symbols from 0 on")
    assert isinstance(number, fx.Node)
    return number


def _is_far(stop: Any, size: Size) -> bool:
    if stop is None or (isinstance(stop, int) and stop >= _FAR):
        return True
    found = value(stop) if isinstance(stop, fx.Node) else stop
    return isinstance(found, int | torch.SymInt) and same(found, size)
