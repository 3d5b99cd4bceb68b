"""Layout ops that only add, drop, repeat or reorder dims: which dim comes from which."""

from __future__ import annotations

from typing import Any

from torch import fx

from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import is_one, literal, normal_dim, same, tensor

DimSources = list[int | None]
"""For each dim of a value the dim of the operand that it is, None for a new one."""


def sources_of_dims(node: fx.Node) -> DimSources:
    """The dims of a layout op by those of its operand; refused where it regroups elements."""
    call = lookup(node)
    source = call.get("input") if call is not None else None
    if call is None or not isinstance(source, fx.Node):
        raise _refused(node)
    rank, own = tensor(node).dim(), tensor(source).dim()
    if call.op == "unsqueeze":
        return _unsqueezed(call, own)
    if call.op == "getitem":
        return _opened(node, source, call)
    if call.op == "expand":
        return [None] * (rank - own) + list(range(own))
    if call.op == "view":
        return _viewed(node, source)
    raise _refused(node)


def _unsqueezed(call: Call, own: int) -> DimSources:
    dim = literal(call.get("dim"))
    if dim is None:
        raise RefusedError("unsqueeze of a computed dim; accepted: a literal dim")
    found: DimSources = list(range(own))
    found.insert(normal_dim(dim, own + 1), None)
    return found


def _opened(node: fx.Node, source: fx.Node, call: Call) -> DimSources:
    """Of an index that adds dims; slices must leave theirs as long as they are."""
    own, index = tensor(source).dim(), call.get("index")
    items: tuple[Any, ...] = index if isinstance(index, tuple) else (index,)
    named = sum(isinstance(item, slice) for item in items)
    found: DimSources = []
    dim = 0
    for item in (*items, *(() if Ellipsis in items else (Ellipsis,))):
        count = 0 if item is None else 1 if item is not Ellipsis else own - named
        found += [None] if item is None else range(dim, dim + count)
        dim += count
    if dim != own or not all(item is None or item is Ellipsis or _is_plain(item) for item in items):
        raise _refused(node)
    sizes, kept = tensor(source).shape, zip(tensor(node).shape, found, strict=True)
    if not all(dim is None or same(sizes[dim], size) for size, dim in kept):
        raise _refused(node)
    return found


def _is_plain(item: Any) -> bool:
    """Whether an index is a slice from the beginning, one by one."""
    plain = isinstance(item, slice) and item.start in (None, 0) and item.step in (None, 1)
    return plain and not isinstance(item.start, bool)


def _viewed(node: fx.Node, source: fx.Node) -> DimSources:
    """A view between shapes whose dims longer than 1 are the same, in order."""
    shape, own = tensor(node).shape, tensor(source).shape
    long = [dim for dim, size in enumerate(own) if not is_one(size)]
    found: DimSources = []
    for size in shape:
        if is_one(size):
            found.append(None)
        elif long and same(own[long[0]], size):
            found.append(long.pop(0))
        else:
            raise _refused(node)
    if long:
        raise _refused(node)
    return found


def _refused(node: fx.Node) -> RefusedError:
    return RefusedError(f"`{node.name}` ({spelled(node)}) does more than add or repeat dims")
