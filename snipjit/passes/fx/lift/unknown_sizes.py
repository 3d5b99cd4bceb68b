"""Whether the tensors of a call tell the size of every axis of its parameters.

A view between the products may split an axis, so that a dim of a parameter becomes a product of
several. Their sizes must follow from other dims, or the kernel could not be configured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from snipjit.ir.subgraph import Dim


def dim_of_unknown_sizes(
    dims: Sequence[Dim], pairs: Iterable[tuple[Dim, Dim]], static: Collection[str]
) -> Dim | None:
    """A dim of a parameter whose sizes stay unknown, or None.

    ``dims`` are those of all parameters, ``pairs`` those that meet in an operation and so have one
    size, both in the finest axes; ``static`` axes have a compiled-in size.
    """
    known = set(static)
    facts: list[tuple[Dim, Dim]] = [((), dim) for dim in dims]
    for left, right in pairs:
        facts += [(left, right), (right, left)]
    while found := {axis for given, dim in facts if (axis := _tells(given, dim, known))}:
        known |= found
    return next((dim for dim in dims if not known.issuperset(dim)), None)


def _tells(given: Dim, dim: Dim, known: set[str]) -> str | None:
    """The one unknown axis of ``dim``, if all axes of ``given`` are known."""
    unknown = [axis for axis in dim if axis not in known]
    return unknown[0] if len(unknown) == 1 and known.issuperset(given) else None
