"""Named axes with their traced sizes, and how a view regroups them.

Nothing here is taken back: that an axis is a product of finer ones stays true whoever asked for it.
What a Subgraph names of it is found when it is finished (``in_use``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from snipjit.ir.subgraph import Dim
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import Size, is_one, product, same
from snipjit.torch_private import equal_if_divided_evenly


class Axes:
    """The axes of a Subgraph under construction.

    A view that splits a dim may come after the dim's axis was named: the axis is then a product of
    finer ones wherever one of these is named.
    """

    def __init__(self) -> None:
        self.sizes: dict[str, Size] = {}
        self.expanded: set[str] = set()
        self.parts: dict[str, Dim] = {}
        self._whole: dict[str, str] = {}

    def new(self, name: str, size: Size) -> str:
        """A new axis."""
        self.sizes[name] = size
        return name

    def expand(self, size: Size) -> str:
        """A new axis along which a value repeats."""
        name = self.new(f"g{len(self.expanded)}", size)
        self.expanded.add(name)
        return name

    def split(self, axis: str, sizes: Sequence[Size]) -> Dim:
        """The parts of an axis, outer to inner."""
        parts = tuple(self.new(f"{axis}_{i}", size) for i, size in enumerate(sizes))
        self.parts[axis] = parts
        self._whole.update(dict.fromkeys(parts, axis))
        return parts

    def leaves(self, dim: Dim) -> Dim:
        """A dim in the finest axes."""
        found: list[str] = []
        for axis in dim:
            found += self.leaves(self.parts[axis]) if axis in self.parts else (axis,)
        return tuple(found)

    def in_use(self, dims: Iterable[Dim], ones: Iterable[str]) -> Mapping[str, Dim]:
        """What each axis is a product of where only these dims are named; ``ones`` are of none."""
        found: dict[str, Dim] = dict.fromkeys(ones, ())
        pending = [axis for dim in dims for axis in dim]
        for axis in pending:
            whole = self._whole.get(axis)
            if whole is not None and whole not in found:
                found[whole] = self.parts[whole]
                pending.append(whole)
        return found

    def size(self, dim: Dim) -> Size:
        """The traced size of a dim."""
        return product(self.sizes[axis] for axis in dim)

    def yields(self, dim: Dim) -> bool:
        """Whether a dim of size 1 takes any other size when it meets one."""
        return is_one(self.size(dim))

    def regroup(self, dims: Sequence[Dim], shape: Sequence[Size]) -> tuple[Dim, ...]:
        """The dims of a view with the given shape; refused unless it only splits and merges.

        Reads dims and shape from the front. A literal 1 that has no counterpart joins the dim
        before it (one head folded into the batch) or, before a repeated axis, that one.
        """
        axes = [axis for dim in dims for axis in dim]
        found: list[Dim] = []
        while len(found) < len(shape):
            size = shape[len(found)]
            if is_one(size) and not (axes and is_one(self.sizes[axes[0]])):
                found.append(())
                continue
            group = self._merge(axes, shape[len(found) :])
            if group:
                del axes[: len(group)]
                following = shape[len(found) + 1 : len(found) + 2]
                found.append(group + self._stray(axes, following))
            elif known := self._known_parts(axes):
                axes[:] = known
            elif split := self._split(axes, shape[len(found) :]):
                found += split
            else:
                found += self._eliminate(axes, shape[len(found) :])
        if axes:
            raise _unclear(shape)
        return tuple(found)

    def _known_parts(self, axes: list[str]) -> list[str]:
        """Axes with the first that has parts in its parts, none if none has."""
        for at, axis in enumerate(axes):
            if axis in self.parts:
                return [*axes[:at], *self.parts[axis], *axes[at + 1 :]]
        return []

    def _merge(self, axes: list[str], sizes: Sequence[Size]) -> Dim:
        """The axes that make the first size; if it is 0, such that others make the other sizes."""
        empty = isinstance(sizes[0], int) and sizes[0] == 0
        for count in range(1, len(axes) + 1):
            group, others = tuple(axes[:count]), tuple(axes[count:])
            fits = not empty or same(self.size(others), product(sizes[1:]))
            if fits and same(self.size(group), sizes[0]):
                return group
        return ()

    def _stray(self, axes: list[str], following: Sequence[Size]) -> Dim:
        found: list[str] = []
        while axes and is_one(self.sizes[axes[0]]) and not any(is_one(s) for s in following):
            if axes[1:2] and axes[1] in self.expanded:
                break
            found.append(axes.pop(0))
        return tuple(found)

    def _split(self, axes: list[str], sizes: Sequence[Size]) -> list[Dim]:
        for count in range(2, len(sizes) + 1 if axes else 0):
            whole, parts = self.sizes[axes[0]], product(sizes[:count])
            # What a view divides it divides evenly, or eager would have refused the call.
            if same(whole, parts) or equal_if_divided_evenly(whole, parts):
                return self._parts_of(axes.pop(0), sizes[:count])
        return []

    def _parts_of(self, axis: str, sizes: Sequence[Size]) -> list[Dim]:
        parts = iter(self.split(axis, [size for size in sizes if not is_one(size)]))
        return [() if is_one(size) else (next(parts),) for size in sizes]

    def _eliminate(self, axes: list[str], sizes: Sequence[Size]) -> list[Dim]:
        """What is left when equal dims at the end are set aside: sizes like s//8 hide products."""
        tail = 0
        while tail < min(len(axes), len(sizes)) - 1:
            if not same(self.sizes[axes[-tail - 1]], sizes[len(sizes) - tail - 1]):
                break
            tail += 1
        left, rest = axes[: len(axes) - tail], axes[len(axes) - tail :]
        open_sizes = sizes[: len(sizes) - tail]
        if len(left) != 1 and (not left or len(open_sizes) != 1):
            raise _unclear(sizes)
        axes.clear()
        split = len(left) == 1 and len(open_sizes) > 1
        found = self._parts_of(left[0], open_sizes) if split else [tuple(left)]
        return found + [(axis,) for axis in rest]


def _unclear(shape: Sequence[Size]) -> RefusedError:
    sizes = ", ".join(map(str, shape))
    return RefusedError(f"view to [{sizes}] regroups elements; accepted: splits and merges of dims")
