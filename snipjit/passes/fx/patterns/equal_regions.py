"""Equal layers are recognised before they are lifted: a model's twelve cost little more than one.

What lifting a region has looked at is kept with its candidate. Where another anchor stands in equal
surroundings, as far as anyone looked, the candidate around it is the same with other nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx

from snipjit.passes.fx.graph.candidate import Candidate, Number
from snipjit.passes.fx.graph.head_scale import HeadScale
from snipjit.passes.fx.graph.value_flow import Looked, ValueFlow
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import Remembered
from snipjit.passes.fx.nodes.traced import form, value
from snipjit.passes.fx.patterns.pattern import Region
from snipjit.torch_private import expression, traced_number

Pairs = list[tuple[Any, Any]]


@dataclass(frozen=True)
class Known:
    """A candidate around an anchor, its region, and what was looked at to find it.

    All further layers are compared with it. ``taken`` are the nodes that were part of other kernels
    then; ``forms`` those of all values of the graph, each made once.
    """

    anchor: fx.Node
    region: Region
    candidate: Candidate
    looked: Looked
    taken: frozenset[fx.Node]
    forms: Remembered[fx.Node, Hashable]

    def around(
        self, flow: ValueFlow, anchor: fx.Node, taken: Collection[fx.Node]
    ) -> tuple[Region, Candidate] | None:
        """The equal candidate around another anchor; None if the surroundings differ.

        Whether writes in place are seen outside its region is not looked at.
        """
        match = _Match(flow, self, taken)
        if not match.extends_to(self.anchor, anchor):
            return None
        found = match.candidate()
        return None if found is None else (match.region(), found)


@dataclass
class _Match:
    """Pairs of nodes, one of the known surroundings and one of the others, that are alike."""

    flow: ValueFlow
    known: Known
    taken: Collection[fx.Node]
    pairs: dict[fx.Node, fx.Node] = field(default_factory=dict)
    inverse: dict[fx.Node, fx.Node] = field(default_factory=dict)

    def extends_to(self, own: fx.Node, other: fx.Node) -> bool:
        """Whether all that was looked at from a node on is alike from the other node on."""
        looked, pending = self.known.looked, [(own, other)]
        while pending:
            left, right = pending.pop()
            if left in self.pairs or right in self.inverse:
                if self.pairs.get(left) is not right:
                    return False
                continue
            self.pairs[left], self.inverse[right] = right, left
            found = self._looked_at(left, right) if left in looked.nodes else []
            if found is None or not (left is right or self._are_alike(left, right)):
                return False
            pending += found
            if left in looked.readers and left is not right:
                readers = self.flow.consumers(left), self.flow.consumers(right)
                if len(readers[0]) != len(readers[1]):
                    return False
                if not all(map(self._are_like_readers, *readers)):
                    return False
                pending += zip(*readers, strict=True)
        return looked.nodes <= self.pairs.keys()

    def _looked_at(self, left: fx.Node, right: fx.Node) -> Pairs | None:
        """The operands of two nodes that do the same; None if they do not."""
        flow = self.flow
        if left is right:
            versions = (flow.version(left, node) for node in left.all_input_nodes)
            return [(version, version) for version in versions]
        if flow.is_mutated(left) != flow.is_mutated(right):
            return None
        if left.op != right.op or (lookup(left) is None) != (lookup(right) is None):
            return None
        is_known = lookup(left) is not None or mutated(left) is not None
        if not is_known and left not in self.known.looked.opened:
            return []
        found = _operands(left, right)
        return found and [(flow.version(left, a), flow.version(right, b)) for a, b in found]

    @staticmethod
    def _are_like_readers(left: fx.Node, right: fx.Node) -> bool:
        """Whether two readers do the same, whatever else they read."""
        return left is right or (left.op == right.op and _operands(left, right) is not None)

    def _are_alike(self, left: fx.Node, right: fx.Node) -> bool:
        """Whether values have the same form, no two layers having the same elements, and other
        kernels have taken both or none."""
        if (left in self.known.taken) != (right in self.taken):
            return False
        forms = self.known.forms
        return forms(left) == forms(right) or _are_numbers_of_layers(value(left), value(right))

    def region(self) -> Region:
        """The known region with other nodes."""
        found = self.known.region
        products = tuple(self.pairs[node] for node in found.products)
        return replace(found, nodes=self._in_order(found.nodes), products=products)

    def candidate(self) -> Candidate | None:
        """The known candidate with other nodes; None if it has nodes that nobody looked at."""
        found = self.known.candidate
        needed = [*found.tensors, *found.outputs, *found.nodes, *_nodes(found.scalars)]
        if not all(node in self.pairs for node in needed):
            return None
        nodes = self._in_order(found.nodes)
        return replace(
            found,
            tensors=tuple(self.pairs[node] for node in found.tensors),
            scalars=tuple(_paired(number, self.pairs) for number in found.scalars),
            outputs=tuple(self.pairs[node] for node in found.outputs),
            nodes=nodes,
            place=nodes[-1],
        )

    def _in_order(self, nodes: Iterable[fx.Node]) -> tuple[fx.Node, ...]:
        """The other nodes of some known ones, in graph order."""
        return tuple(sorted((self.pairs[n] for n in nodes), key=self.flow.index.__getitem__))


def _nodes(numbers: Iterable[Number]) -> list[fx.Node]:
    found = (number.query if isinstance(number, HeadScale) else number for number in numbers)
    return [number for number in found if isinstance(number, fx.Node)]


def _paired(number: Number, pairs: Mapping[fx.Node, fx.Node]) -> Number:
    if isinstance(number, HeadScale):
        return replace(number, query=pairs[number.query])
    return pairs[number] if isinstance(number, fx.Node) else number


def _operands(left: fx.Node, right: fx.Node) -> Pairs | None:
    """The nodes that stand in the same places of two calls; None if anything else differs."""
    if left.target != right.target and left.op in ("call_function", "call_method"):
        return None
    pairs: Pairs = []
    return pairs if _collect((left.args, left.kwargs), (right.args, right.kwargs), pairs) else None


def _collect(left: Any, right: Any, pairs: Pairs) -> bool:
    if isinstance(left, fx.Node) and isinstance(right, fx.Node):
        pairs.append((left, right))
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, tuple | list):
        return len(left) == len(right) and all(
            _collect(a, b, pairs) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, Mapping):
        same_names = left.keys() == right.keys()
        return same_names and all(_collect(left[name], right[name], pairs) for name in left)
    if isinstance(left, slice):
        ends = (left.start, left.stop, left.step), (right.start, right.stop, right.step)
        return _collect(*ends, pairs)
    return bool(left == right)


def form_of(node: fx.Node) -> Hashable:
    """What the value of a node has in common with those of equal layers."""
    return form(value(node))


def _are_numbers_of_layers(left: Any, right: Any) -> bool:
    """Whether two traced values are equal numbers of each layer's own, on which no size depends."""
    if not (isinstance(left, torch.SymFloat) and isinstance(right, torch.SymFloat)):
        return False
    own = expression(left).is_symbol and expression(right).is_symbol
    return bool(own and traced_number(left) == traced_number(right))
