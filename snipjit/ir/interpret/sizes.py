"""The sizes of a Subgraph's axes in any of its forms, from the shapes of a call's tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from math import prod

from snipjit.errors import InputError
from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.parts import Parts
from snipjit.ir.subgraph import Dim, Subgraph


def axis_sizes(subgraph: Subgraph, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """The size of every axis; one that nothing tells has size 1."""
    sizes = {axis: size for axis, size in subgraph.axes.items() if size is not None}
    sizes |= {part: size for parts in _parts(subgraph) for part, size in parts.known}
    given: list[tuple[Dim, int]] = []
    for node, shape in zip(subgraph.parameters, shapes, strict=True):
        dims = Parts.told(node.attrs, node.type.dims)
        blocked, *_ = node.attrs.get("block", (None,))
        if len(dims) + (blocked is not None) != len(shape):
            raise InputError(f"a tensor has rank {len(shape)}, the Subgraph takes {len(dims)}")
        pairs = zip(dims, shape, strict=False)
        given += [(dim, size) for dim, size in pairs if dim != (blocked,)]
    equal = [pair for group in _aligned_dims(subgraph) for pair in _pairs(group)]
    while _solve_given(sizes, given) or any(_solve_pair(sizes, *pair) for pair in equal):
        pass
    for dim, size in given:
        whole = prod(sizes.get(axis, 1) for axis in dim)
        if size not in (1, whole):
            raise InputError(f"a dim [{' '.join(dim)}] has size {size}, but its axes have {whole}")
    for axis, parts in {row for parts in _parts(subgraph) for row in parts.whole}:
        sizes |= {part: sizes.get(part, 1) for part in parts}
        sizes[axis] = prod(sizes[part] for part in parts)
    return {**sizes, **{axis: sizes.get(axis, 1) for axis in subgraph.axes}}


def _parts(subgraph: Subgraph) -> list[Parts]:
    found = (Parts.of(node.attrs) for node in subgraph.parameters)
    return [parts for parts in found if parts is not None]


def _solve_given(sizes: dict[str, int], given: Sequence[tuple[Dim, int]]) -> bool:
    """Find one more size from the dims of tensors; a dim of size 1 tells only if no other does."""
    if any(_solve_dim(sizes, dim, n) for dim, n in given):
        return True
    ones = [[a for a in dim if a not in sizes] for dim, n in given if n == 1]
    undecided = min(filter(None, ones), key=len, default=[])
    sizes |= dict.fromkeys(undecided, 1)
    return bool(undecided)


def _aligned_dims(subgraph: Subgraph) -> Iterator[list[Dim]]:
    """The dims that meet at each position of products, elementwise functions and masks."""
    types = {node.name: node.type for node in subgraph.nodes}
    for node in subgraph.nodes:
        if node.op == "sdpa" and node.attrs["mask"]:
            query, key, _, mask = (types[name].dims for name in node.inputs[:4])
            pairs = zip(reversed(mask), (key[-2], query[-2]), strict=False)
            yield from ([own, dim] for own, dim in pairs if own)
        if node.op in ELEMENTWISE or node.op == "matmul":
            skipped = 2 if node.op == "matmul" else 0
            shapes = [types[name].dims[: len(types[name].dims) - skipped] for name in node.inputs]
            for group in zip_longest(*(reversed(dims) for dims in shapes), fillvalue=()):
                yield [dim for dim in group if dim]


def _pairs(dims: list[Dim]) -> list[tuple[Dim, Dim]]:
    return [(a, b) for a in dims for b in dims if a != b]


def _solve_pair(sizes: dict[str, int], left: Dim, right: Dim) -> bool:
    """Find the one unknown size on the right from the left; whether that was possible."""
    if any(axis not in sizes for axis in left):
        return False
    return _solve_dim(sizes, right, prod(sizes[axis] for axis in left))


def _solve_dim(sizes: dict[str, int], dim: Dim, total: int) -> bool:
    """Find the one unknown size of a dim from its whole size, unless it may broadcast."""
    unknown = [axis for axis in dim if axis not in sizes]
    known = prod(sizes[axis] for axis in dim if axis in sizes)
    if len(unknown) != 1 or total == 1 or known == 0 or total % known:
        return False
    sizes[unknown[0]] = total // known
    return True
