"""Values of a chain that are read outside it: they become extra results of the same kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.layouts import LAYOUTS
from snipjit.passes.fx.nodes.calls import lookup, spelled
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import is_tensor, storage
from snipjit.passes.fx.patterns.pattern import Region

Versions = dict[tuple[fx.Node, fx.Node], fx.Node]
"""By reader and the tensor that it mentions, which version of it, made in place, it reads."""


@dataclass(frozen=True)
class ExtraResults:
    """The values of a region that readers outside see.

    results    nodes whose values are written whole, in graph order
    kept       nodes of the region that stay in the graph: views of results
    versions   of readers of in-place ops
    """

    results: tuple[fx.Node, ...]
    kept: frozenset[fx.Node]
    versions: Versions


def extra_results(flow: ValueFlow, region: Region) -> ExtraResults:
    """The nodes of a region that are written whole for their readers outside.

    Before:  %p = softmax(%s); %o = matmul(%p, %v); %f = p.view(…); return o, p, f
    After:   %k = kernel(…); %o = k[0]; %p = k[1]; %f = p.view(…); return o, p, f

    Of a value and its views, one is written; the other nodes on the way stay in the graph. Refused
    if something outside changes a result in place.
    """
    inside = set(region.nodes)
    found: list[fx.Node] = []
    kept: set[fx.Node] = set()
    versions: Versions = {}
    for node in region.nodes:
        readers = [reader for reader in flow.consumers(node) if reader not in inside]
        if node in region.products or not readers:
            continue
        _check(flow, node, readers, inside)
        views = _views_of(flow, node, found)
        if views is not None:
            kept.update(views)
            continue
        versions |= _versions(flow, node, readers)
        found.append(node)
    return ExtraResults(tuple(found), frozenset(kept), versions)


def _views_of(flow: ValueFlow, node: fx.Node, results: list[fx.Node]) -> list[fx.Node] | None:
    """The layout ops that lead from one of ``results`` to ``node``, or None."""
    path: list[fx.Node] = []
    while node not in results:
        call = lookup(node)
        source = call.get("input") if call is not None and call.op in LAYOUTS else None
        if not isinstance(source, fx.Node) or mutated(node) is not None:
            return None
        path.append(node)
        node = flow.read(node, source)
    return path


def _check(flow: ValueFlow, node: fx.Node, readers: list[fx.Node], inside: set[fx.Node]) -> None:
    if not is_tensor(node):
        raise RefusedError(
            f"`{node.name}` ({spelled(node)}) has several values, which `{readers[0].name}` reads; "
            "accepted: tensors with readers outside the chain"
        )
    for other, target in flow.writes:
        if other not in inside and storage(target) == storage(node):
            raise RefusedError(
                f"`{other.name}` changes `{node.name}` ({spelled(node)}) in place, which is read "
                "outside the chain; accepted: extra results that nothing changes"
            )


def _versions(flow: ValueFlow, node: fx.Node, readers: list[fx.Node]) -> Versions:
    """What readers of an in-place op's value mention in its stead."""
    mentions = ((reader, of) for reader in readers for of in reader.all_input_nodes)
    return {(r, of): node for r, of in mentions if of is not node and flow.read(r, of) is node}


def check_order(
    flow: ValueFlow,
    nodes: Sequence[fx.Node],
    outputs: Sequence[fx.Node],
    operands: Sequence[fx.Node],
    taken: Mapping[fx.Node, fx.Node],
) -> fx.Node:
    """The node before which a kernel must run: the first reader of a result, or the last of nodes.

    A node among ``taken`` is read where the kernel that covers it runs. Refused if an operand is
    made only after the place.
    """
    own = set(nodes)
    readers = {reader for output in outputs for reader in flow.consumers(output)} - own
    places = [nodes[-1], *(taken.get(reader, reader) for reader in readers)]
    place = min(places, key=flow.index.__getitem__)
    if late := [operand for operand in operands if flow.index[operand] >= flow.index[place]]:
        raise RefusedError(
            f"`{place.name}` ({spelled(place)}) reads a result before `{late[0].name}` is made; "
            "accepted: readers after all operands"
        )
    return place
