"""Whether nodes can run at once: nothing outside may stand between two of them."""

from __future__ import annotations

from collections.abc import Collection

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow


def joins(flow: ValueFlow, node: fx.Node, region: Collection[fx.Node]) -> bool:
    """Whether a region that can run at once still can with one more node.

    Before:  region %y = layer_norm(%x);  %g = linear(%y);  %z = add(%y, %g)
    After:   not %z, which needs %g, which needs %y; but %g itself
    """
    own = {*region, node}
    floor = min(map(flow.index.__getitem__, own))
    seen: set[fx.Node] = set()
    pending = [of for one in own for of in flow.operands(one) if of not in own]
    while pending:
        of = pending.pop()
        if of in own:
            return False
        if of not in seen and flow.index[of] > floor:
            seen.add(of)
            pending += flow.operands(of)
    return True
