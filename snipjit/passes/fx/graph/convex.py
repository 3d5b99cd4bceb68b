"""Whether nodes can run at once: nothing outside may stand between two of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow


def joins(flow: ValueFlow, node: fx.Node, region: Collection[fx.Node]) -> bool:
    """Whether a region that can run at once still can with one more node.

    Before:  region %y = layer_norm(%x);  %g = linear(%y);  %z = add(%y, %g)
    After:   not %z, which needs %g, which needs %y; but %g itself
    """
    own = {*region, node}
    return not are_made_of(flow, (of for one in own for of in flow.operands(one)), own)


def are_made_of(flow: ValueFlow, values: Iterable[fx.Node], nodes: Collection[fx.Node]) -> bool:
    """Whether any of some values outside ``nodes`` is made of them: what runs them at once cannot
    read it, as it comes after."""
    first = min(map(flow.index.__getitem__, nodes))
    pending, seen = [value for value in values if value not in nodes], set[fx.Node]()
    while pending:
        node = pending.pop()
        if node in nodes:
            return True
        if node not in seen and flow.index[node] > first:
            seen.add(node)
            pending += flow.operands(node)
    return False
