"""Chains of elementwise operations that stand between everything else: one pass over memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import fx

from snipjit.ir.operations import kind_of
from snipjit.passes.fx.graph.convex import are_made_of, joins
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.gathers import is_gather
from snipjit.passes.fx.lift.lifter import Lifter
from snipjit.passes.fx.lift.rotations import halves_of, is_rotated
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import ExpectedError, RefusedError, Remembered
from snipjit.passes.fx.nodes.traced import (
    CONVERTED,
    DTYPES,
    Size,
    is_tensor,
    literal,
    same,
    tensor,
)
from snipjit.passes.fx.patterns.pattern import CHEAP, Pattern, Region, is_pointwise, refuse_empty
from snipjit.target.candidates import CHAIN_ELEMENTS, CHAIN_OPERATIONS

LEAST = 2
"""Of fewer operations a kernel is no faster than PyTorch's own, whatever the sizes; nor is it of as
many where one is a read by index."""

NEAR = 4
"""How many readers of angles are looked at."""


class Elementwise(Pattern):
    """Neighbours that make each element of their results of one element of each operand.

    Before:  %g = sigmoid(%a); %m = mul(%g, %b); %y = add(%m, %r)
    After:   %a, %b, %c = parameter …; %0 = sigmoid %a; %1 = mul %0 %b; %2 = add %1 %c; result %2

    Reads by index (``gathers.py``) are among them: of an embedding the sum with that of positions.
    All results have one shape. Smaller values, which are broadcast to it, are among them where they
    are cheap and nothing else reads them. One operation alone stays with PyTorch, and so do whole
    numbers. Halves that change places (``rotations.py``) count as elements: of a rotary embedding
    queries and keys are one region, where they share their angles.
    """

    name = "elementwise"
    has_masks = False
    surprises = False

    def is_anchor(self, flow: ValueFlow, node: fx.Node) -> bool:
        """Whether a node computes floating elements, and not alone."""
        if not computes(flow, node) or not tensor(node).dim():
            return False
        if not tensor(node).dtype.is_floating_point:
            return False
        if any(is_pointwise(of) for of in (*flow.operands(node), *flow.consumers(node))):
            return True
        return any(is_gather(flow, of) for of in flow.operands(node))

    def regions(
        self, flow: ValueFlow, anchor: fx.Node, taken: Collection[fx.Node]
    ) -> Sequence[Region]:
        """All that can run at once around an anchor; none where that is too little."""
        nodes = _Growth(flow, tensor(anchor).shape, taken).around(anchor)
        nodes |= _rotated_alike(flow, nodes, taken)
        computed = [node for node in nodes if computes(flow, node)]
        count = len(computed)
        if count < LEAST + any(is_gather(flow, node) for node in computed):
            return ()
        elements = literal(tensor(anchor).numel())
        if count < CHAIN_OPERATIONS and elements is not None and elements <= CHAIN_ELEMENTS:
            if anchor is not min(computed, key=flow.index.__getitem__):
                return ()  # it is told of the first one
            raise ExpectedError(
                f"`{anchor.name}` ({spelled(anchor)}) begins {count} operations on {elements} "
                "elements, which PyTorch does as fast; accepted: more of either"
            )
        return (Region.of(flow, nodes),)

    def check(self, lifter: Lifter, anchor: fx.Node, region: Region) -> None:
        """There are elements."""
        refuse_empty(region.nodes)


def computes(flow: ValueFlow, node: fx.Node) -> bool:
    """Whether PyTorch goes over memory for an elementwise node, or one that reads by index."""
    call = lookup(node)
    if is_gather(flow, node):
        return True
    if call is None or not is_pointwise(node):
        return False
    return is_elementwise(call.op) or (call.op == "cast" and _converts(flow, node, call))


def _converts(flow: ValueFlow, node: fx.Node, call: Call) -> bool:
    source = flow.read(node, call.get("input"))
    return is_tensor(source) and tensor(source).dtype != tensor(node).dtype


def _rotated_alike(
    flow: ValueFlow, nodes: Collection[fx.Node], taken: Collection[fx.Node]
) -> set[fx.Node]:
    """The rotation of another tensor by the angles of this one, as of keys beside queries."""
    if not any(halves_of(flow, node) for node in nodes):
        return set()
    first = min(map(flow.index.__getitem__, nodes))
    sides = _read_by(flow, nodes)
    readers = {of for side in sides for of in flow.consumers(side) if is_pointwise(of)}
    later = (of for of in readers - {*nodes} if flow.index[of] > first)
    for reader in sorted(later, key=flow.index.__getitem__)[:NEAR]:
        other = _Growth(flow, tensor(reader).shape, taken).around(reader)
        if not any(halves_of(flow, node) for node in other):
            continue
        both = {*nodes, *other}
        while added := [of for of in _read_by(flow, both) if _is_alone(flow, of, both)]:
            both.update(added)
        if _are_apart(flow, nodes, other, both) and not are_made_of(
            flow, _read_by(flow, both), both
        ):
            return both
    return set()


def _read_by(flow: ValueFlow, nodes: Collection[fx.Node]) -> dict[fx.Node, None]:
    """What nodes read of others."""
    return dict.fromkeys(of for node in nodes for of in flow.operands(node) if of not in nodes)


def _is_alone(flow: ValueFlow, node: fx.Node, readers: Collection[fx.Node]) -> bool:
    """Whether angles are unsqueezed or converted for some readers alone."""
    call = lookup(node)
    known = call is not None and call.op in ("unsqueeze", "cast") and is_pointwise(node)
    return known and all(reader in readers for reader in flow.consumers(node))


def _are_apart(
    flow: ValueFlow, one: Collection[fx.Node], other: Collection[fx.Node], both: Collection[fx.Node]
) -> bool:
    """Whether nothing that both read has a dim, of size 1, in which their shapes differ."""
    shapes = [max((tensor(of).shape for of in nodes), key=len) for nodes in (one, other)]
    if len(shapes[0]) != len(shapes[1]):
        return False
    differ = [dim for dim, sizes in enumerate(zip(*shapes, strict=True)) if not same(*sizes)]
    reach = len(shapes[0]) - min(differ, default=len(shapes[0]))
    shared = [of for of in _read_by(flow, one) if of in _read_by(flow, other) and of not in both]
    return all(not is_tensor(of) or tensor(of).dim() < reach for of in shared)


class _Growth:
    """Grows a region of results of one shape, as far as all of it can run at once."""

    def __init__(self, flow: ValueFlow, shape: Sequence[Size], taken: Collection[fx.Node]) -> None:
        self.flow, self.shape, self.taken = flow, shape, taken
        self._lifts = Remembered(self._lift)

    def around(self, anchor: fx.Node) -> set[fx.Node]:
        """What belongs to an anchor; nothing if it cannot be lifted."""
        nodes, pending = set[fx.Node](), [anchor]
        while pending:
            node = pending.pop(0)
            if node in nodes or not self._is_part(node) or not joins(self.flow, node, nodes):
                continue
            nodes.add(node)
            pending += [of for of in self.flow.consumers(node) if self._is_whole(of)]
            pending += () if is_gather(self.flow, node) else self.flow.operands(node)
        return self._without_shared(nodes)

    def _is_whole(self, node: fx.Node) -> bool:
        if not is_tensor(node):
            return False
        shape = tensor(node).shape
        return len(shape) == len(self.shape) and all(map(same, shape, self.shape))

    def _is_part(self, node: fx.Node) -> bool:
        call = lookup(node)
        if call is None or node in self.taken:
            return False
        if is_gather(self.flow, node):
            return True  # smaller ones are for what reads them alone
        if not is_pointwise(node) and halves_of(self.flow, node) is None:
            return False
        if is_rotated(self.flow, node):  # its halves are views of it, which must be there
            return False
        tensors = [of for of in self.flow.operands(node) if is_tensor(of)]
        known = CONVERTED if call.op == "cast" else DTYPES
        if any(tensor(of).dtype not in known for of in tensors):
            return False
        if not self._is_whole(node) and not (_is_cheap(call) and is_pointwise(node)):
            return False
        try:
            self._lifts(node)
        except RefusedError:
            return False
        return True

    def _lift(self, node: fx.Node) -> str:
        return Lifter(self.flow, {node}, self.taken, lambda *_: None).value(node)

    def _without_shared(self, nodes: set[fx.Node]) -> set[fx.Node]:
        """The nodes without smaller values that anything else reads, and what they are made of."""
        while True:
            shared = {
                node
                for node in nodes
                if not self._is_whole(node)
                and any(reader not in nodes for reader in self.flow.consumers(node))
            }
            if not shared:
                return nodes
            nodes -= shared


def _is_cheap(call: Call) -> bool:
    return not is_elementwise(call.op) or call.op in _CHEAP_NAMES or kind_of(call.op) in CHEAP


_CHEAP_NAMES = ("add", "sub", "rsub", "mul", "neg", "where", "masked_fill", "square")
