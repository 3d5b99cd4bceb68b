"""Halves of a tensor that change places, as in rotary embeddings: a choice by index.

The halves stay tensors of the call, which views give; nothing is joined in memory.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import fx

from snipjit.ir.subgraph import Dim
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.layouts import view_to
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.op_row import spelled_by
from snipjit.passes.fx.nodes.traced import DTYPES, is_tensor, literal, normal_dim, same, tensor

SLICES = ("slice", "getitem")

PARTS = frozenset((*spelled_by("chunk"), *spelled_by("split"), *spelled_by("split_with_sizes")))
"""What gives several parts at once."""


def halves_of(flow: ValueFlow, node: fx.Node) -> list[fx.Node] | None:
    """The two parts, equal in size, of one tensor that a ``cat`` joins again in its last dim.

    Before:  %a = getitem(%x, (..., slice(None, 4))); %b = getitem(%x, (..., slice(4, None)))
             %n = neg(%b); %r = cat((%n, %a), -1)
    After:   [%n, %a]
    """
    call = lookup(node)
    if call is None or call.op != "cat" or not is_tensor(node) or not tensor(node).dim():
        return None
    given, dim = call.get("tensors"), literal(call.get("dim", 0))
    if dim is None or not isinstance(given, list | tuple) or len(given) != 2:
        return None
    halves = [flow.read(node, half) for half in given if is_tensor(half)]
    last = tensor(node).dim() - 1
    if len(halves) != 2 or normal_dim(dim, last + 1) != last:
        return None
    sources = [_source(flow, half) for half in halves]
    size = literal(tensor(node).shape[-1])
    alike = all(tensor(half).dtype == tensor(node).dtype for half in halves)
    if sources[0] is None or sources[0] is not sources[1] or size is None or not alike:
        return None
    is_even = all(same(2 * tensor(half).shape[-1], size) for half in halves)
    return halves if is_even and tensor(node).dtype in DTYPES else None


def is_rotated(flow: ValueFlow, node: fx.Node) -> bool:
    """Whether parts of a tensor are halves that are joined again."""
    pending = [of for of in flow.consumers(node) if _gives_part(of)]
    while pending:
        part = pending.pop()
        for reader in flow.consumers(part):
            call = lookup(reader)
            if halves_of(flow, reader) is not None:
                return True
            if part.target in PARTS or (call is not None and call.op == "neg"):
                pending.append(reader)
    return False


def _gives_part(node: fx.Node) -> bool:
    call = lookup(node)
    return node.target in PARTS or (call is not None and call.op in SLICES)


def _source(flow: ValueFlow, half: fx.Node) -> fx.Node | None:
    """The tensor that a half is a part of, perhaps with the other sign."""
    call = lookup(half)
    if call is not None and call.op == "neg":
        half = flow.read(half, call.get("input"))
        call = lookup(half) if isinstance(half, fx.Node) else None
    if call is None or call.op not in SLICES:
        return None
    source = call.get("input")
    if isinstance(source, fx.Node) and source.target in PARTS:
        source = source.args[0]
    return flow.read(half, source) if is_tensor(source) else None


def join_halves(
    writer: SubgraphWriter, first: str, second: str, fix: Callable[[str, Dim], None]
) -> str:
    """The value whose last dim has the first half and then the second.

    Before:  %a, %b : f32[m][n]
    After:   %i = iota {axis=t} : i32[t]; %c = lt %i 0.5; %w = where %c %a %b : f32[m][t][n]
             %y = view %w : f32[m][t n]
    """
    axis = writer.axes.new(f"half{len(writer.nodes)}", 2)
    index = writer.index((axis,), 1)
    fix(index, (axis, *writer.types[first].dims[-1]))
    parts = [writer.insert_dim(part, len(writer.types[part].dims) - 1) for part in (first, second)]
    is_first = writer.op("lt", index, writer.constant(0.5))
    joined = writer.op("where", is_first, *parts)
    *outer, halves, features = writer.types[joined].dims
    return view_to(writer, joined, [*outer, halves + features])
