"""Parts: what the axes of a tensor are products of, where its memory knows finer ones.

Values have an axis ``n``; what stands behind it in memory may be ``h w``, outer to inner. A tensor
that has all parts of an axis is laid out along it as along any other, be they one dim or several.
One that lacks some is read by *index*: the element i of n is, of ``[h]``, number ``i // w``, and of
``[w]``, number ``i % w``. Sizes come with the call, but those of groups, which are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

Dim = tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """The dims of a tensor in the parts of its axes, and all parts of each axis that has some.

    Sizes of parts that are ``known`` are compiled in.
    """

    dims: tuple[Dim, ...]
    whole: tuple[tuple[str, Dim], ...]
    known: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def of(attrs: Mapping[str, Any]) -> Parts | None:
        """What an attribute says, ``parts=((dim, …), ((axis, (part, …)), …))``, and known sizes."""
        return Parts(*attrs["parts"]) if "parts" in attrs else None

    @staticmethod
    def told(attrs: Mapping[str, Any], dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """The dims of a parameter of these attributes as the call has them."""
        parts = Parts.of(attrs)
        return dims if parts is None else parts.dims

    @property
    def attr(self) -> tuple[object, ...]:
        """The attribute."""
        return (self.dims, self.whole, self.known) if self.known else (self.dims, self.whole)

    @cached_property
    def products(self) -> dict[str, Dim]:
        """All parts of each axis that has some."""
        return dict(self.whole)

    @cached_property
    def axes(self) -> Dim:
        """The parts and axes of the dims, outer to inner."""
        return tuple(axis for dim in self.dims for axis in dim)

    def all(self, axis: str) -> Dim:
        """The parts of an axis, or itself where it has none."""
        return self.products.get(axis, (axis,))

    def own(self, axis: str) -> Dim:
        """Those of them that the tensor has."""
        return tuple(part for part in self.all(axis) if part in self.axes)

    def inner(self, axis: str) -> Dim:
        """The parts inside those that the tensor has."""
        own, parts = self.own(axis), self.all(axis)
        return parts[parts.index(own[-1]) + 1 :]

    def is_index(self, axis: str) -> bool:
        """Whether the tensor is read by index along an axis."""
        return self.own(axis) != self.all(axis)

    def is_outer(self, axis: str) -> bool:
        """Whether what it has of an axis begins with the outermost part: no index is too large."""
        return self.own(axis)[0] == self.all(axis)[0]

    @cached_property
    def sized(self) -> tuple[str, ...]:
        """The parts whose sizes an index is computed with."""
        found = [p for axis, _ in self.whole if self.is_index(axis) for p in self._counted(axis)]
        return tuple(dict.fromkeys(found))

    def size(self, parts: Dim) -> int | None:
        """The product of the sizes of parts, if they are known."""
        known = dict(self.known)
        return prod(known[part] for part in parts) if {*parts} <= known.keys() else None

    def _counted(self, axis: str) -> Dim:
        return self.inner(axis) if self.is_outer(axis) else self.own(axis) + self.inner(axis)

    def misfit(self, dims: tuple[Dim, ...]) -> str | None:
        """What is wrong with them for a tensor of these dims; None if nothing is."""
        axes = tuple(axis for dim in dims for axis in dim)
        if len(self.dims) != len(dims) or not {*self.products} <= {*axes}:
            return "parts have as many dims as the type, and are of its axes"
        owned = [self.own(axis) for axis in axes]
        if not all(owned) or tuple(p for own in owned for p in own) != self.axes:
            return "parts stand in the order of the axes"
        spans = [self._span(axis, own) for axis, own in zip(axes, owned, strict=True)]
        if spans != [len(own) for own in owned]:
            return "what a tensor has of an axis are neighbouring parts"
        return None

    def _span(self, axis: str, own: Dim) -> int:
        return self.all(axis).index(own[-1]) - self.all(axis).index(own[0]) + 1
