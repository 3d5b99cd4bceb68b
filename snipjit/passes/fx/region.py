"""The region of an attention: every node on a way from the score product to the value product."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from snipjit.passes.fx.candidate import RefusedError
from snipjit.passes.fx.op_table import lookup, spelled
from snipjit.passes.fx.traced import is_number, is_tensor
from snipjit.passes.fx.translate import PRODUCTS, is_chain_op, same_count, unknown
from snipjit.passes.fx.value_flow import ValueFlow


@dataclass(frozen=True)
class Region:
    """The nodes in graph order; the last one makes the result."""

    nodes: tuple[fx.Node, ...]

    @property
    def last(self) -> fx.Node:
        """The product with the values, or the SDPA call."""
        return self.nodes[-1]


def find_region(flow: ValueFlow, anchor: fx.Node) -> Region:
    """The region around a softmax or SDPA call; refused with the op that ends the walk."""
    call = lookup(anchor)
    if call is not None and call.op == "sdpa":
        return Region((anchor,))
    first = _score_product(flow, anchor)
    last = _value_product(flow, anchor)
    nodes = _between(flow, first, last)
    inside = set(nodes)
    for node in nodes[:-1]:
        for reader in flow.consumers(node):
            if reader not in inside:
                raise RefusedError(
                    f"`{node.name}` ({spelled(node)}) is also read by `{reader.name}` "
                    f"({spelled(reader)}); accepted: values with no reader outside the chain"
                )
    return Region(tuple(nodes))


def _score_product(flow: ValueFlow, anchor: fx.Node) -> fx.Node:
    """The first product with as many elements as the anchor, operands searched left to right."""
    seen: set[fx.Node] = set()
    stopped: list[fx.Node] = []
    stack = [anchor]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        call = lookup(node)
        if call is not None and call.op in PRODUCTS:
            if is_tensor(node) and same_count(node, anchor):
                return node
        elif call is None or not is_chain_op(call.op):
            stopped.append(node)
        else:
            stack += [s for s in reversed(flow.operands(node)) if not is_number(s)]
    ends = ", ".join(f"`{node.name}` ({spelled(node)})" for node in stopped[:3]) or "nothing"
    raise RefusedError(
        f"no score product above `{anchor.name}` ({spelled(anchor)}), the walk ends at {ends}; "
        "accepted: matmul, bmm or baddbmm, then elementwise ops, casts, views, dropout that is off"
    )


def _value_product(flow: ValueFlow, anchor: fx.Node) -> fx.Node:
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
    if len(set(products)) == 1:
        return products[0]
    if products:
        names = ", ".join(f"`{product.name}`" for product in dict.fromkeys(products))
        raise RefusedError(f"`{anchor.name}` feeds several products ({names}); accepted: one")
    raise RefusedError(unknown(stopped[0]) if stopped else f"`{anchor.name}` feeds no product")


def _between(flow: ValueFlow, first: fx.Node, last: fx.Node) -> list[fx.Node]:
    above: set[fx.Node] = {last}
    order = sorted(flow.index, key=flow.index.__getitem__)
    order = order[flow.index[first] : flow.index[last] + 1]
    for node in reversed(order):
        if node in above:
            above.update(flow.operands(node))
    below: set[fx.Node] = {first}
    for node in order:
        if any(operand in below for operand in flow.operands(node)):
            below.add(node)
    nodes = [node for node in order if node in above and node in below]
    if nodes[-1:] != [last]:
        raise RefusedError(f"`{last.name}` does not read the scores of `{first.name}`")
    return nodes
