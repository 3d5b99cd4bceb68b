"""Takes in what makes a side input, where that is a function of indices: masks are not stored.

A causal mask of [Sq, Sk] costs more to read than to compute from its row and its column, and what
it hides need not be computed at all once it is known as a condition on indices.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.index.index_values import IndexValues
from snipjit.passes.fx.lift.mask_walk import MaskWalk, is_large
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import Size, is_one, is_tensor, same, tensor


class SideInputs:
    """Lifts what makes side inputs.

    Before:  %r = arange(s); %c = r <= r[:, None]; %w = where(c, 0, -inf); %m = scores + w
    After:   %0 = iota {axis=n}; %1 = iota {axis=m}; %2 = le %0 %1; %3 = where %2 …; add %scores %3

    Ranges become iotas, numbers scalars or constants, and tensors that lack the rows or the keys
    (a padding mask [b, 1, 1, n]) parameters. One more tensor with both may be among them if indices
    are too: it is then read in the place of the mask.
    """

    def __init__(
        self,
        flow: ValueFlow,
        writer: SubgraphWriter,
        indices: IndexValues,
        taken: Collection[fx.Node],
    ) -> None:
        self.flow = flow
        self.writer = writer
        self.walk = MaskWalk(flow, writer, indices, taken)

    def value(self, side: fx.Node, shape: Sequence[Size]) -> str | None:
        """The Subgraph value of a side input, None if it is to stay a tensor.

        ``shape`` is that of the values that it meets.
        """
        if not _fits(side, shape):
            return None
        try:
            name = self.walk.name(side)
        except RefusedError:
            return None
        origin = self.writer.origins[name]
        leaves = [self.writer.tensors[parameter] for parameter in origin.parameters]
        large = [leaf for leaf in leaves if is_large(leaf)]
        won = side not in leaves and (not large or (len(large) == 1 and origin.indices))
        return name if won and (origin.indices or is_large(side)) else None

    def producers(self, side: fx.Node, name: str) -> set[fx.Node]:
        """All that makes a side input of its leaves: what nothing reads afterwards goes."""
        origin = self.writer.origins[name]
        leaves = {self.writer.tensors[parameter] for parameter in origin.parameters}
        leaves |= {s for of in origin.scalars if isinstance(s := self.writer.scalars[of], fx.Node)}
        found: set[fx.Node] = set()
        pending = [side]
        while pending:
            node = pending.pop()
            pure = lookup(node) is not None and mutated(node) is None
            if pure and node not in found and node not in leaves:
                found.add(node)
                pending += self.flow.operands(node)
        return found


def met_shape(
    flow: ValueFlow, reader: fx.Node, region: Collection[fx.Node]
) -> Sequence[Size] | None:
    """The shape of the values that a side input of ``reader`` meets, None if it is not clear."""
    call = lookup(reader)
    if call is not None and call.op == "sdpa":
        return (*tensor(reader).shape[:-1], tensor(call.get("key")).shape[-2])
    if not is_tensor(reader):
        return None
    shape = tensor(reader).shape
    chain = [of for of in flow.operands(reader) if of in region and is_tensor(of)]
    shapes = [tensor(of).shape for of in chain]
    alike = [len(of) == len(shape) and all(map(same, of, shape)) for of in shapes]
    return shape if any(alike) or not chain else None


def _fits(side: fx.Node, shape: Sequence[Size]) -> bool:
    """Whether a side input stretches nothing that it meets."""
    own = tensor(side).shape
    pairs = zip(reversed(own), reversed(shape), strict=False)
    return len(own) <= len(shape) and all(is_one(a) or same(a, b) for a, b in pairs)
