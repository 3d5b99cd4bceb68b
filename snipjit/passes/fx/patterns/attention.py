"""Attention: a product of scores, a softmax, and products with values."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

from torch import fx

from snipjit.passes.fx.graph.part_views import VIEWED
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.lifter import Lifter, is_chain_op, unknown
from snipjit.passes.fx.lift.products import PRODUCTS as ALL_PRODUCTS
from snipjit.passes.fx.lift.translate_columns import JOINS
from snipjit.passes.fx.lift.translate_reductions import REDUCTIONS, dims_of
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import ExpectedError, RefusedError
from snipjit.passes.fx.nodes.traced import Size, is_number, is_tensor, same, same_count, tensor
from snipjit.passes.fx.patterns.pattern import Pattern, Region

PRODUCTS = tuple(op for op in ALL_PRODUCTS if op not in ("linear", "convolution"))
MAX_HEAD = 512
_MOVES = ("view", "transpose", "transpose_last", "permute", "movedim", "unsqueeze", "cast")


class Attention(Pattern):
    """One region for each product ▸ … ▸ softmax ▸ … ▸ product, and for each SDPA call.

    The walk knows a grammar, not templates: between the products any op of the table may stand, in
    any order and number; what else meets the chain is a side input or a scalar.

    Before:  %s = matmul(q, k.transpose(2, 3)); %a = s * 0.125; %m = a + mask
             %p = softmax(m, -1); %o = matmul(p, v); %r = o.transpose(1, 2)
    After:   %a, %b, %c, %d = parameter …; %s0 = scalar
             %0 = transpose %b; %1 = matmul %a %0; %2 = mul %1 %s0; %3 = add %2 %c
             %4 = softmax %3; %5 = matmul %4 %d; %6 = transpose %5; result %6

    Taken are all value products of a softmax, or else one, and the others read the weights from
    outside; with them row reductions of scores and weights, unless these are refused.
    """

    name = "attention"

    def is_anchor(self, flow: ValueFlow, node: fx.Node) -> bool:
        """Whether a node is a softmax, an SDPA call, or the exp of a written-out softmax."""
        call = lookup(node)
        if call is None or call.op in ("softmax", "safe_softmax", "softmin", "sdpa"):
            return call is not None
        if call.op == "log_softmax":
            return "exp" in _ops(flow.consumers(node))
        if call.op not in ("exp", "exp2"):
            return False
        sources = flow.operands(node)
        less = [
            of for source in sources if _ops([source]) == ["sub"] for of in flow.operands(source)
        ]
        return "sum" in _ops(flow.consumers(node)) or "logsumexp" in _ops(less)

    def regions(
        self, flow: ValueFlow, anchor: fx.Node, taken: Collection[fx.Node]
    ) -> Sequence[Region]:
        """With all products or one of them, each with row reductions and without."""
        every = _value_products(flow, anchor)
        products = tuple(node for node in every if node not in taken) or every[:1]
        if products == (anchor,):
            _check_sizes(products)
            return (Region(products, products),)
        first = _score_product(flow, anchor)
        # The score product too: a sum over no keys divides 0 by 0 behind the second one.
        _check_sizes((*products, first))
        chosen = [products, *((product,) for product in products)] if products[1:] else [products]
        below = _below(flow, first)
        reachable = [of for of in chosen if below.issuperset(of)]
        if not reachable:
            raise RefusedError(f"`{products[0].name}` does not read the scores of `{first.name}`")
        found: dict[Region, None] = {}
        for of, rows in itertools.product(reachable, (True, False)):
            nodes = _between(flow, below, of)
            more = _row_reductions(flow, nodes) if rows else set()
            nodes = sorted({*nodes, *more}, key=flow.index.__getitem__)
            found.setdefault(Region(tuple(nodes), of, len(every) == 1))
        return tuple(found)

    def check_feature(self, node: fx.Node, size: Size) -> None:
        """Head dimensions must fit registers."""
        if isinstance(size, int) and not 0 < size <= MAX_HEAD:
            raise RefusedError(
                f"`{node.name}` has a head dimension of {size}; accepted: 1 to {MAX_HEAD}"
            )

    def check(self, lifter: Lifter, anchor: fx.Node, region: Region) -> None:
        """Of several products below a softmax each is one with values."""
        for product in () if region.is_only else region.products:
            if not lifter.sums_last(product, anchor):
                raise RefusedError(f"`{product.name}` sums over another dim than `{anchor.name}`")
            width = tensor(product).shape[-1]
            if not isinstance(width, int) and same(width, tensor(anchor).shape[-1]):
                raise RefusedError(
                    f"`{product.name}` is as wide as `{anchor.name}`; accepted: head dims"
                )


def _check_sizes(products: Iterable[fx.Node]) -> None:
    for product in products:
        if any(isinstance(size, int) and size == 0 for size in tensor(product).shape):
            raise RefusedError(f"`{product.name}` is empty; accepted: sizes from 1")


def _ops(nodes: Iterable[fx.Node]) -> list[str]:
    calls = [lookup(node) for node in nodes]
    return [call.op for call in calls if call is not None]


def _value_products(flow: ValueFlow, anchor: fx.Node) -> tuple[fx.Node, ...]:
    """The products below a softmax, or the SDPA call itself; refused with the op that is there."""
    call = lookup(anchor)
    if call is not None and call.op == "sdpa":
        return (anchor,)
    return _products_below(flow, anchor)


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
            # A view has as many elements as its operand, whether or not the sizes tell.
            moved = call.op in _MOVES and is_tensor(node) and same_count(node, like)
            stack += [
                (source, source if moved and is_tensor(source) else like) for source in sources
            ]
    ends = ", ".join(f"`{node.name}` ({spelled(node)})" for node in stopped[:3]) or "nothing"
    raise ExpectedError(
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
    raise ExpectedError(unknown(stopped[0]) if stopped else f"`{anchor.name}` feeds no product")


def _below(flow: ValueFlow, first: fx.Node) -> set[fx.Node]:
    """The nodes that a product reaches by chain ops, the products below included."""
    found, pending = {first}, [first]
    while pending:
        node = pending.pop()
        call = lookup(node)
        # Parts of a value are on the way to writes into it.
        if node is first or (call is not None and (is_chain_op(call.op) or call.op in VIEWED)):
            readers = [reader for reader in flow.consumers(node) if reader not in found]
            found.update(readers)
            pending += readers
    return found


def _between(flow: ValueFlow, below: set[fx.Node], products: tuple[fx.Node, ...]) -> list[fx.Node]:
    """The nodes on ways to products from where ``below`` begins, in graph order."""
    above = set(products)
    for node in sorted(below, key=flow.index.__getitem__, reverse=True):
        if node in above:
            above.update(flow.operands(node))
    return sorted(above & below, key=flow.index.__getitem__)


def _row_reductions(flow: ValueFlow, nodes: Collection[fx.Node]) -> set[fx.Node]:
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
