"""AxisUnification: which axes are the same, where one may also be a product of several others.

A union-find whose classes may be bound to products: unifying ``[h]`` with ``[hk g]`` makes every
``h`` the product ``hk g``. This is unification over words (Robinson 1965) where it has one most
general answer. In one more case it assumes the likely one: products of equally many factors are
equal factor by factor (``[hk g]`` of keys and of values). Should a call's sizes differ from that,
solving them for the axes fails; a wrong assumption is an error and never a wrong number.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from snipjit.errors import UnsupportedError
from snipjit.ir.subgraph import Dim


class AxisUnification:
    """Equalities between products of axes, with the static sizes of the axes."""

    def __init__(self, sizes: Mapping[str, int | None]) -> None:
        self._sizes = dict(sizes)
        self._bound: dict[str, Dim] = {}

    def size(self, axis: str) -> int | None:
        """The static size of an axis that ``resolve`` returned, if it has one."""
        return self._sizes[axis]

    def resolve(self, dim: Dim) -> Dim:
        """The same product in terms of axes that are not bound."""
        factors: list[str] = []
        for axis in dim:
            factors += self.resolve(self._bound[axis]) if axis in self._bound else (axis,)
        return tuple(factors)

    def unify(self, left: Dim, right: Dim) -> None:
        """Make two products equal. Raises UnsupportedError if that has no unique solution."""
        a, b = self._strip(self.resolve(left), self.resolve(right))
        if len(a) == 1 and a[0] not in b:
            self._bind(a[0], b)
        elif len(b) == 1 and b[0] not in a:
            self._bind(b[0], a)
        elif not a or not b:
            for axis in a or b:
                self._bind(axis, ())
        elif len(a) == len(b):
            for x, y in zip(a, b, strict=True):
                self.unify((x,), (y,))
        else:
            raise UnsupportedError(
                f"dims {_show(left)} and {_show(right)} must be equal, but their factors "
                f"{_show(a)} and {_show(b)} cannot be told apart; split both dims alike"
            )

    def _strip(self, a: Dim, b: Dim) -> tuple[Dim, Dim]:
        """Take away what both products have in common at either end."""
        while a and b and self._match(a[-1], b[-1], a, b):
            a, b = self.resolve(a[:-1]), self.resolve(b[:-1])
        while a and b and self._match(a[0], b[0], a, b):
            a, b = self.resolve(a[1:]), self.resolve(b[1:])
        return a, b

    def _match(self, x: str, y: str, a: Dim, b: Dim) -> bool:
        """Whether two end factors are the same axis; in longer products equal static sizes are."""
        if x == y:
            return True
        if min(len(a), len(b)) < 2 or self._sizes[x] is None or self._sizes[x] != self._sizes[y]:
            return False
        self._bind(x, (y,))
        return True

    def _bind(self, axis: str, product: Dim) -> None:
        size = self._sizes[axis]
        if size is not None:
            self._fix(axis, size, product)
        self._bound[axis] = product

    def _fix(self, axis: str, size: int, product: Dim) -> None:
        """Make the static size of a product ``size``."""
        dynamic = [factor for factor in product if self._sizes[factor] is None]
        known = prod(self._sizes[factor] or 1 for factor in product)
        if len(dynamic) == 1 and size % known == 0:
            self._sizes[dynamic[0]] = size // known
        elif dynamic or known != size:
            raise UnsupportedError(
                f"axis {axis} has the static size {size}, but it must equal {_show(product)} of "
                f"size {'unknown' if dynamic else known}; give both the same static size"
            )


def _show(dim: Dim) -> str:
    return "[" + " ".join(dim) + "]"
