"""Layout ops: from FX calls to the transpose, view, unsqueeze and expand nodes of a Subgraph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import fx

from snipjit.ir.subgraph import Dim, TensorType
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.op_table import Call
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    Size,
    constant,
    element_type,
    ints,
    is_one,
    is_tensor,
    normal_dim,
    tensor,
    value,
)
from snipjit.passes.fx.nodes.traced import same as same_size

# Anything past this end is "to the end" in ATen.
_FAR = 2**31


def apply_layout(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    """The value of a layout op on ``source``; ``source`` itself where nothing moves."""
    return LAYOUTS[call.op](node, call, writer, source)


def transpose_to(writer: SubgraphWriter, source: str, order: Iterable[int]) -> str:
    """A value with its dims in another order."""
    order = tuple(order)
    type = writer.types[source]
    if order == tuple(range(len(type.dims))):
        return source
    dims = tuple(type.dims[dim] for dim in order)
    return writer.add("transpose", TensorType(type.dtype, dims), source, order=order)


def _transpose(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    rank = len(writer.types[source].dims)
    dims = ints([call.get("dim0"), call.get("dim1")])
    first, second = (normal_dim(dim, rank) for dim in dims)
    order = list(range(rank))
    order[first], order[second] = second, first
    return transpose_to(writer, source, order)


def _transpose_last(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    rank = len(writer.types[source].dims)
    outer = max(rank - 2, 0)
    return transpose_to(writer, source, [*range(outer), *reversed(range(outer, rank))])


def _permute(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    dims = _listed(call.get("dims"), call.rest)
    return transpose_to(writer, source, (normal_dim(dim, len(dims)) for dim in dims))


def _movedim(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    rank = len(writer.types[source].dims)
    sources = [normal_dim(dim, rank) for dim in _listed(call.get("source"), ())]
    targets = [normal_dim(dim, rank) for dim in _listed(call.get("destination"), ())]
    rest = [dim for dim in range(rank) if dim not in sources]
    for target, dim in sorted(zip(targets, sources, strict=True)):
        rest.insert(target, dim)
    return transpose_to(writer, source, rest)


def _listed(first: Any, rest: tuple[Any, ...]) -> list[int]:
    return ints([*first, *rest] if isinstance(first, list | tuple) else [first, *rest])


def view_to(writer: SubgraphWriter, source: str, dims: Iterable[Dim]) -> str:
    """A value with the same axes grouped into other dims."""
    type, dims = writer.axes.resolve(writer.types[source]), tuple(dims)
    if dims == type.dims:
        return source
    return writer.add("view", TensorType(type.dtype, dims), source)


def _view(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    viewed = call.get("input")
    if is_tensor(viewed) and tensor(viewed).dtype != tensor(node).dtype:
        raise RefusedError(f"`{node.name}` reads bits as another type; accepted: its to(dtype)")
    dims = writer.axes.regroup(writer.types[source].dims, tensor(node).shape)
    return view_to(writer, source, dims)


def insert_dim(writer: SubgraphWriter, source: str, dim: int) -> str:
    """A value with a new dim of size 1."""
    type = writer.types[source]
    dims = (*type.dims[:dim], (), *type.dims[dim:])
    return writer.add("unsqueeze", TensorType(type.dtype, dims), source, dim=dim)


def _unsqueeze(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    (dim,) = ints([call.get("dim")])
    return insert_dim(writer, source, normal_dim(dim, len(writer.types[source].dims) + 1))


def _expand(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    return _expand_to(writer, source, list(tensor(node).shape))


def _expand_to(writer: SubgraphWriter, source: str, shape: list[Size]) -> str:
    type = writer.types[source]
    missing = len(shape) - len(type.dims)
    dims = [*[()] * missing, *type.dims]
    for position, (dim, size) in enumerate(zip(dims, shape, strict=True)):
        if same_size(writer.axes.size(dim), size):
            continue
        if dim:
            raise RefusedError("expand of a tensor's dim; accepted: of a dim made by unsqueeze")
        dims[position] = (writer.axes.expand(size),)
    if tuple(dims) == type.dims:
        return source
    for _ in range(missing):
        source = insert_dim(writer, source, 0)
    return writer.add("expand", TensorType(type.dtype, tuple(dims)), source)


def _repeat_interleave(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    (dim,) = ints([call.get("dim")])
    repeats = call.get("repeats")
    size = value(repeats) if isinstance(repeats, fx.Node) else repeats
    shape = tensor(node).shape
    dim = normal_dim(dim, len(shape))
    if is_one(size):
        return source
    sizes = [writer.axes.size(of) for of in writer.types[source].dims]
    if not same_size(sizes[dim] * size, shape[dim]):
        raise RefusedError("repeat_interleave by a tensor; accepted: one number of repeats")
    opened = insert_dim(writer, source, dim + 1)
    repeated = _expand_to(writer, opened, [*sizes[: dim + 1], size, *sizes[dim + 1 :]])
    dims = writer.types[repeated].dims
    merged = [*dims[:dim], dims[dim] + dims[dim + 1], *dims[dim + 2 :]]
    return view_to(writer, repeated, merged)


def _getitem(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    index = call.get("index")
    index = index if isinstance(index, tuple) else (index,)
    if not all(item is None or item is Ellipsis or item == slice(None) for item in index):
        raise RefusedError(f"`{node.name}` selects elements; accepted: whole dims and None")
    named = sum(isinstance(item, slice) for item in index)
    unnamed = len(writer.types[source].dims) - named
    dim = 0
    for item in index:
        if item is None:
            source = insert_dim(writer, source, dim)
        dim += unnamed if item is Ellipsis else 1
    return source


def _slice(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    end = call.get("end")
    whole = end is None or (isinstance(end, int) and end >= _FAR)
    if not whole or call.get("start") not in (None, 0) or call.get("step", 1) != 1:
        raise RefusedError(f"`{node.name}` selects elements; accepted: whole dims")
    return source


def _getattr(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    name = call.get("name")
    if name == "mT" or (name == "T" and len(writer.types[source].dims) == 2):
        return _transpose_last(node, call, writer, source)
    raise RefusedError(f"attribute `{name}`; accepted: mT")


def _numpy_t(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    """``x.T`` as torch 2.14 and later write it."""
    if len(writer.types[source].dims) == 2:
        return _transpose_last(node, call, writer, source)
    raise RefusedError("attribute `T`; accepted: mT")


def _cast(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    return writer.to(source, element_type(node))


def _dropout(node: fx.Node, call: Call, writer: SubgraphWriter, source: str) -> str:
    training = call.get("training", True)
    if training is False or constant(call.get("p", 0.5)) == 0:
        return source
    raise RefusedError(f"`{node.name}` drops elements; accepted: p=0 or training=False")


Layout = Callable[[fx.Node, Call, SubgraphWriter, str], str]

LAYOUTS: dict[str, Layout] = {
    "transpose": _transpose,
    "transpose_last": _transpose_last,
    "permute": _permute,
    "movedim": _movedim,
    "view": _view,
    "unsqueeze": _unsqueeze,
    "expand": _expand,
    "repeat_interleave": _repeat_interleave,
    "getitem": _getitem,
    "slice": _slice,
    "getattr": _getattr,
    "numpy_T": _numpy_t,
    "cast": _cast,
    "dropout": _dropout,
}
