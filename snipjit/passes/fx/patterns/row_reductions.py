"""Reductions of scores and probabilities along a row: cheap to have from the kernel itself."""

from __future__ import annotations

from collections.abc import Collection

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.translate_reductions import REDUCTIONS, dims_of
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.op_table import Call, lookup
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import is_tensor, same_count


def row_reductions(flow: ValueFlow, nodes: Collection[fx.Node]) -> set[fx.Node]:
    """The nodes on ways from values of a chain to reductions over their last dim.

    Before:  %p = softmax(%s); %o = matmul(%p, %v); %l = p.log(); %w = l * p; %h = w.sum(-1)
    After:   the kernel of the chain gives %o and %h; %p is not written

    Elementwise ops may stand before the reduction. A way whose values something else reads is left
    to the graph, which reads the chain's value whole; so are reductions that cross rows, since the
    tasks of a kernel do not meet.
    """
    found: set[fx.Node] = set()
    inside = set(nodes)
    for node in nodes:
        for reader in flow.consumers(node):
            if reader not in inside and is_tensor(node):
                found |= _way(flow, node, reader) or set()
    return found


def _way(flow: ValueFlow, source: fx.Node, node: fx.Node) -> set[fx.Node] | None:
    """The nodes from a reader of ``source`` to reductions; None if anything else reads them."""
    call = lookup(node)
    if call is None or mutated(node) is not None:
        return None
    if _reduces_rows(node, call):
        return _reduction(flow, node)
    if not (is_elementwise(call.op) and is_tensor(node) and same_count(node, source)):
        return None
    ways = [_way(flow, source, reader) for reader in flow.consumers(node)]
    if not ways or any(way is None for way in ways):
        return None
    return {node}.union(*(way for way in ways if way is not None))


def _reduces_rows(node: fx.Node, call: Call) -> bool:
    if call.op not in (*REDUCTIONS, "logsumexp") or is_tensor(call.get("other", call.get("dim"))):
        return False
    try:
        return is_tensor(call.get("input")) and dims_of(node, call) == (-1,)
    except RefusedError:
        return False


def _reduction(flow: ValueFlow, node: fx.Node) -> set[fx.Node] | None:
    """The reduction; with it the choice of its values, where it gives values and indices."""
    if is_tensor(node):
        return {node}
    readers = flow.consumers(node)
    calls = [lookup(reader) for reader in readers]
    values = all(call is not None and call.get("index") == 0 for call in calls)
    return {node, *readers} if readers and values else None
