"""Reads by index: what an embedding looks up, and what a tensor of indices picks along a dim."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import fx

from snipjit.ir.subgraph import TensorType
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    FLOATS,
    check_plain,
    element_type,
    is_integer,
    is_tensor,
    literal,
    normal_dim,
    tensor,
)
from snipjit.torch_private import is_wrapped

GATHERS = ("embedding", "index_select")

INDICES = {torch.int32: "i32", torch.int64: "i64"}
"""The element types of indices."""


class Gather(NamedTuple):
    """A tensor, a dim of it, and the indices along that dim, whose dims stand in its place."""

    table: fx.Node
    dim: int
    indices: fx.Node


class GatherTranslator:
    """Writes them as gathers of a parameter: the indices become part of addresses.

    Before:  %e = embedding(%ids, %w)
    After:   %a = parameter : f32[a0][a1]; %b = parameter : i64[b0][b1]
             %0 = gather %a %b {axis=a0} : f32[b0][b1][a1]
    """

    def __init__(
        self, flow: ValueFlow, writer: SubgraphWriter, region: Collection[fx.Node]
    ) -> None:
        self.flow, self.writer, self.region = flow, writer, region
        self._tables: dict[fx.Node, str] = {}

    def translate(self, node: fx.Node, call: Call) -> str:
        """The value of a read by index."""
        table, dim, indices = gather_of(self.flow, node, call)
        if inside := [of.name for of in (table, indices) if of in self.region]:
            raise RefusedError(
                f"`{node.name}` ({spelled(node)}) takes `{inside[0]}`, which the kernel computes; "
                "accepted: tensors that are there before it"
            )
        if table not in self._tables:
            self._tables[table] = self.writer.parameter(table)
        source = self._tables[table]
        index = self.writer.side_input(indices, INDICES[tensor(indices).dtype])
        held, places = self.writer.types[source], self.writer.types[index].dims
        ((axis,),) = held.dims[dim : dim + 1]
        dims = (*held.dims[:dim], *places, *held.dims[dim + 1 :])
        return self.writer.add("gather", TensorType(held.dtype, dims), source, index, axis=axis)


def is_gather(flow: ValueFlow, node: fx.Node) -> bool:
    """Whether a node reads by index as kernels can."""
    call = lookup(node)
    if call is None or call.op not in GATHERS or not is_tensor(node):
        return False
    try:
        gather_of(flow, node, call)
    except RefusedError:
        return False
    return True


def gather_of(flow: ValueFlow, node: fx.Node, call: Call) -> Gather:
    """What a node reads by index. Refused unless it is floats whose innermost dim is dense."""
    of_rows = call.op == "embedding"
    table = call.get("weight" if of_rows else "input")
    indices = call.get("indices", call.get("input")) if of_rows else call.get("index")
    if not is_tensor(table) or not is_tensor(indices):
        raise RefusedError(f"`{node.name}` ({spelled(node)}) takes no tensors")
    table, indices = flow.read(node, table), flow.read(node, indices)
    rank, given = tensor(table).dim(), 0 if of_rows else literal(call.get("dim"))
    if given is None or rank < 1 or (of_rows and rank != 2):
        raise RefusedError(f"`{node.name}` ({spelled(node)}) reads no known dim")
    element_type(table)
    if tensor(table).dtype not in FLOATS or literal(tensor(table).stride()[-1]) != 1:
        raise RefusedError(
            f"`{node.name}` ({spelled(node)}) reads `{table.name}`; accepted: floats whose "
            "innermost dim is dense"
        )
    _check_indices(node, indices)
    if said := [name for name in ("max_norm", "sparse", "scale_grad_by_freq") if call.get(name)]:
        raise RefusedError(f"`{node.name}` ({spelled(node)}) has {said[0]}; accepted: none")
    return Gather(table, normal_dim(given, rank), indices)


def _check_indices(node: fx.Node, indices: fx.Node) -> None:
    check_plain(indices)
    whole = is_integer(indices) and tensor(indices).dtype in INDICES
    if not whole or is_wrapped(tensor(indices)):
        kinds = " or ".join(str(dtype).removeprefix("torch.") for dtype in INDICES)
        raise RefusedError(
            f"`{node.name}` ({spelled(node)}) has indices `{indices.name}`; accepted: {kinds} on "
            "the CPU"
        )
