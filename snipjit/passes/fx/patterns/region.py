"""The region of an attention: every node on a way from the score product to a value product."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.translate import PRODUCTS, is_chain_op, unknown
from snipjit.passes.fx.lift.translate_columns import JOINS
from snipjit.passes.fx.nodes.op_table import lookup, spelled
from snipjit.passes.fx.nodes.refused import NoProductError, RefusedError
from snipjit.passes.fx.nodes.traced import is_number, is_tensor, same_count
from snipjit.passes.fx.patterns.row_reductions import row_reductions


@dataclass(frozen=True)
class Region:
    """The nodes in graph order; ``products`` make the results."""

    nodes: tuple[fx.Node, ...]
    products: tuple[fx.Node, ...]


def value_products(flow: ValueFlow, anchor: fx.Node) -> tuple[fx.Node, ...]:
    """The products below a softmax, or the SDPA call itself; refused with the op that is there."""
    call = lookup(anchor)
    if call is not None and call.op == "sdpa":
        return (anchor,)
    return _products_below(flow, anchor)


def find_region(
    flow: ValueFlow, anchor: fx.Node, products: tuple[fx.Node, ...], rows: bool = False
) -> Region:
    """The region around ``anchor`` that ends in ``products``; refused if there is no way.

    With ``rows`` it has the row reductions of its values too.
    """
    if products == (anchor,):
        return Region(products, products)
    nodes = _between(flow, _score_product(flow, anchor), products)
    more = row_reductions(flow, nodes) if rows else set()
    return Region(tuple(sorted({*nodes, *more}, key=lambda node: flow.index[node])), products)


def _score_product(flow: ValueFlow, anchor: fx.Node) -> fx.Node:
    """The first product with as many elements as the anchor, operands searched left to right."""
    seen: set[fx.Node] = set()
    stopped: list[fx.Node] = []
    stack = [(anchor, anchor)]
    while stack:
        node, like = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        call = lookup(node)
        if call is not None and call.op in PRODUCTS:
            if is_tensor(node) and same_count(node, like):
                return node
            continue
        if call is None or not is_chain_op(call.op):
            stopped.append(node)
            continue
        sources = [s for s in reversed(flow.operands(node)) if not is_number(s)]
        if call.op in JOINS:
            # Each part has a count of its own. Last, since a bias may be padded to its shape.
            stack = [(source, source) for source in sources] + stack
        else:
            stack += [(source, like) for source in sources]
    ends = ", ".join(f"`{node.name}` ({spelled(node)})" for node in stopped[:3]) or "nothing"
    raise NoProductError(
        f"no score product above `{anchor.name}` ({spelled(anchor)}), the walk ends at {ends}; "
        "accepted: matmul, bmm, baddbmm or einsum, then elementwise ops, casts, views, dropout "
        "that is off"
    )


def _products_below(flow: ValueFlow, anchor: fx.Node) -> tuple[fx.Node, ...]:
    seen: set[fx.Node] = set()
    products: list[fx.Node] = []
    stopped: list[fx.Node] = []
    queue = [anchor]
    while queue:
        node = queue.pop(0)
        if node in seen:
            continue
        seen.add(node)
        for reader in flow.consumers(node):
            call = lookup(reader)
            if call is not None and call.op in PRODUCTS:
                products.append(reader)
            elif call is not None and is_chain_op(call.op):
                queue.append(reader)
            else:
                stopped.append(reader)
    if products:
        return tuple(sorted(set(products), key=lambda node: flow.index[node]))
    raise NoProductError(unknown(stopped[0]) if stopped else f"`{anchor.name}` feeds no product")


def _between(flow: ValueFlow, first: fx.Node, products: tuple[fx.Node, ...]) -> list[fx.Node]:
    above: set[fx.Node] = set(products)
    order = sorted(flow.index, key=flow.index.__getitem__)
    order = order[flow.index[first] : flow.index[products[-1]] + 1]
    for node in reversed(order):
        if node in above:
            above.update(flow.operands(node))
    below: set[fx.Node] = {first}
    for node in order:
        if any(operand in below for operand in flow.operands(node)):
            below.add(node)
    for product in products:
        if product not in below:
            raise RefusedError(f"`{product.name}` does not read the scores of `{first.name}`")
    return [node for node in order if node in above and node in below]
