"""Takes in what makes a side input, where that is a function of indices: masks are not stored.

A causal mask of [Sq, Sk] costs more to read than to compute from its row and its column, and what
it hides need not be computed at all once it is known as a condition on indices.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import fx

from snipjit.ir.subgraph import Dim
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.index.index_values import IndexValues
from snipjit.passes.fx.lift.mask_walk import MaskWalk, is_large
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.op_table import lookup
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import Size, is_one, is_tensor, same, tensor


class MaskAbsorber:
    """Writes the producers of side inputs into a Subgraph.

    Before:  %r = arange(s); %c = r <= r[:, None]; %w = where(c, 0, -inf); %m = scores + w
    After:   %0 = iota {axis=n}; %1 = iota {axis=m}; %2 = le %0 %1; %3 = where %2 …; add %scores %3

    Ranges become iotas, numbers scalars or constants, and tensors that lack the rows or the keys
    (a padding mask [b, 1, 1, n]) parameters. One more tensor with both may be among them if indices
    are too: it is then read in the place of the mask. ``nodes`` are all that was taken in.
    """

    def __init__(self, flow: ValueFlow, indices: IndexValues, taken: Collection[fx.Node]) -> None:
        self.flow = flow
        self.taken = taken
        self.nodes: set[fx.Node] = set()
        self.axes: list[str] = []
        self.indices = indices
        self._known: dict[fx.Node, str | None] = {}

    def value(self, writer: SubgraphWriter, side: fx.Node, shape: Sequence[Size]) -> str | None:
        """The Subgraph value of a side input, None if it is to stay a tensor.

        ``shape`` is that of the values that it meets.
        """
        if side not in self._known:
            self._known[side] = self._absorbed(writer, side) if _fits(side, shape) else None
        return self._known[side]

    def _absorbed(self, writer: SubgraphWriter, side: fx.Node) -> str | None:
        saved = writer.save()
        walk = MaskWalk(self.flow, writer, self.indices, self.taken, len(self.axes))
        try:
            name = walk.name(side)
        except RefusedError:
            name = None
        large = [leaf for leaf in walk.leaves if is_large(leaf)]
        won = side not in walk.leaves and (not large or (len(large) == 1 and walk.axes))
        if name is None or not won or not (walk.axes or is_large(side)):
            writer.restore(saved)
            return None
        self.axes += walk.axes
        self.nodes |= self._producers(side, {*walk.leaves, *walk.scalars})
        return name

    def _producers(self, side: fx.Node, leaves: set[fx.Node]) -> set[fx.Node]:
        """All that makes a value of ``leaves``: what nothing reads afterwards goes."""
        found: set[fx.Node] = set()
        pending = [side]
        while pending:
            node = pending.pop()
            pure = lookup(node) is not None and mutated(node) is None
            if pure and node not in found and node not in leaves:
                found.add(node)
                pending += self.flow.operands(node)
        return found

    def check(self, writer: SubgraphWriter) -> None:
        """Every index must run along one whole dim of an operand; refused otherwise."""
        dims = [dim for _, parameter in writer.parameters for dim in parameter.type.dims]
        own = {axis for dim in dims for axis in writer.axes.leaves(dim)}
        sizes = writer.axes.sizes
        for axis in self.axes:
            met = _met(writer, axis)
            whole = all(len(dim) == 1 and same(sizes[dim[0]], sizes[axis]) for dim in met)
            if not whole or own.isdisjoint(name for dim in met for name in dim):
                raise RefusedError("a mask's indices run along no dim of the operands")


def _met(writer: SubgraphWriter, axis: str) -> set[Dim]:
    """The dims that an axis meets, directly or by way of others, in the finest axes."""
    leaves = writer.axes.leaves
    pairs = [(leaves(left), leaves(right)) for left, right in writer.pairs]
    known = {leaves((axis,))}
    while found := {dim for pair in pairs if known.intersection(pair) for dim in pair} - known:
        known |= found
    return {dim for dim in known if dim}


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
