"""Takes in the layout ops below the value product: head merges, copies, idle casts."""

from __future__ import annotations

from collections.abc import Collection

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.layouts import apply_layout
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import element_type

_TAKEN = frozenset(
    "transpose transpose_last numpy_T permute movedim view cast dropout getattr".split()
)


def lowest_result(
    flow: ValueFlow,
    writer: SubgraphWriter,
    node: fx.Node,
    value: str,
    others: Collection[fx.Node],
) -> tuple[str, fx.Node, set[fx.Node]]:
    """Follows single readers down from ``node``.

    Before:  %o = matmul …; %t = o.transpose(1, 2); %r = t.reshape(b, s, -1)
    After:   %0 = matmul …; %1 = transpose %0; %2 = view %1 : f32[b][m][h d]

    Returns the value of the lowest node it reaches, that node, and the nodes taken in. A result
    keeps its element type, and a dim that a view splits is not: no operand tells the sizes. What
    stands for ``others`` is theirs.
    """
    taken: set[fx.Node] = set()
    while (below := _single_reader(flow, node)) is not None:
        call = lookup(below)
        if call is None or call.op not in _TAKEN or mutated(below) is not None or below in others:
            break
        parts = len(writer.axes.parts)
        try:
            lower = apply_layout(below, call, writer, value)
            kept = element_type(below) == writer.types[lower].dtype
        except RefusedError:
            break
        if not kept or len(writer.axes.parts) != parts:
            break
        node, value = below, lower
        taken.add(below)
    return value, node, taken


def _single_reader(flow: ValueFlow, node: fx.Node) -> fx.Node | None:
    readers = flow.consumers(node)
    return readers[0] if len(readers) == 1 else None
