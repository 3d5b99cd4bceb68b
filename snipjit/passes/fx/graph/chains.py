"""Chains: launches with nothing of PyTorch's between them become one node.

Before:  %n = launch(%x, …); %i = item(%p); %q = launch_1(%n, …); %v = view(%q, …);
         %c = launch_2(%v, %i); %s = add(%c, 1)
After:   %i = item(%p); %chain = chain(%x, …, %i); %c = getitem(%chain, 0); %s = add(%c, 1)

The body of a chain is a graph of its launches and of the views between them; it returns what
others read, and notes which of its inputs the module hands over, such as parameters. What else
stands between launches goes before them, or after, as its data allow. A view that others read too
stays where it is, a view of what then leaves the chain. A cat of results that can be written in
place (``cats.py``) is part of the body, as ``torch.cat(operands, dim)``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

import torch
from torch import fx

from snipjit.passes.fx.graph.cats import Results, is_result, launch_of, operands, results_in
from snipjit.passes.fx.graph.launch_levels import NUMBERS, Kind, Levels, arranged
from snipjit.passes.fx.nodes.traced import is_state, note_state, traced_value

Join = Callable[[fx.Graph], Callable[..., Any]]
"""Makes what a graph calls of the body of a chain; it returns a tuple as the body does."""

Kinds = Mapping[fx.Node, Kind]


def chain_launches(gm: fx.GraphModule, results: Results, join: Join, cats: bool = True) -> None:
    """Put one node in the place of launches that can follow one another. Recompiles the module.

    ``results`` says how many results a node's kernel has, 0 where it is no launch; without ``cats``
    these stay with PyTorch.
    """
    (kind, segments), changed = arranged(gm.graph, results, cats), False
    for segment, level in segments:
        chains = [_Chain(group, segment, kind, results) for group in _groups(level, kind)]
        if chains:
            _reorder(segment, chains)
            for chain in chains:
                chain.replace(gm.graph, join)
            changed = True
    if changed:
        gm.graph.lint()
        gm.recompile()


def _groups(level: Levels, kind: Kinds) -> list[list[fx.Node]]:
    """Launches of the same level, where there are several."""
    found: dict[int, list[fx.Node]] = {}
    for node, number in level.items():
        if kind[node] is Kind.LAUNCH:
            found.setdefault(number, []).append(node)
    return [group for group in found.values() if len(group) > 1]


class _Chain:
    """Launches that become one node.

    results  what kernels make: launches, or the parts of those with several results
    cats     of such results, which are written there
    views    what launches and cats read such results through
    kept     views of these that others read too
    leaving  results and cats that others read, or keep a view of
    """

    def __init__(
        self, launches: Sequence[fx.Node], segment: Sequence[fx.Node], kind: Kinds, results: Results
    ) -> None:
        self.launches = set(launches)
        self.results = {
            node
            for node in segment
            if is_result(node, results) and launch_of(node) in self.launches
        }
        self.cats = {
            node for node in segment if kind[node] is Kind.CAT and self._has(node, kind, results)
        }
        self.views = self._views(segment, kind)
        self.kept: set[fx.Node] = set()
        inside = self.launches | self.results | self.cats | self.views
        self.nodes = [node for node in segment if node in inside]
        for node in reversed(self.nodes):
            if node in self.views and any(
                user not in inside or user in self.kept for user in node.users
            ):
                self.kept.add(node)
        self.leaving = [
            node
            for node in self.nodes
            if node in self.results | self.cats
            and any(user not in inside or user in self.kept for user in node.users)
        ]

    def _has(self, cat: fx.Node, kind: Kinds, results: Results) -> bool:
        """Whether a cat is of the chain's results; then it is of no others."""
        found = results_in(cat, results, lambda node: kind.get(node) is Kind.VIEW)
        return launch_of(found[0]) in self.launches

    def _views(self, segment: Sequence[fx.Node], kind: Kinds) -> set[fx.Node]:
        """Views of results that a launch or a cat reads, or another such view."""
        own, found = self.results | self.cats, set[fx.Node]()
        readers = self.launches | self.cats
        views = [n for n in segment if kind[n] is Kind.VIEW and n not in self.results]
        for node in views:
            if node.args[0] in own:
                own.add(node)
        for node in reversed(views):
            if node in own and any(user in readers or user in found for user in node.users):
                found.add(node)
        return found

    @property
    def moved(self) -> list[fx.Node]:
        """The nodes whose place the chain takes."""
        return [node for node in self.nodes if node not in self.kept]

    @property
    def inputs(self) -> list[fx.Node]:
        """What the chain reads of others, in order."""
        own = {*self.nodes}
        of = (source for node in self.nodes for source in node.all_input_nodes)
        return list(dict.fromkeys(source for source in of if source not in own))

    def replace(self, graph: fx.Graph, join: Join) -> None:
        """Put one node behind the chain's, and take these away."""
        target, inputs = join(self._body()), tuple(self.inputs)
        with graph.inserting_after(self.moved[-1]):
            call = graph.call_function(target, inputs)
        place = call
        for number, node in enumerate(self.leaving):
            with graph.inserting_after(place):
                place = graph.call_function(operator.getitem, (call, number))
            place.meta = dict(node.meta)
            node.replace_all_uses_with(place)
        for node in reversed(self.moved):
            graph.erase_node(node)

    def _body(self) -> fx.Graph:
        body, known = fx.Graph(), dict[fx.Node, fx.Node]()
        for source in self.inputs:
            known[source] = body.placeholder(source.name)
            if isinstance(number := traced_value(source), NUMBERS):
                known[source].meta["example_value"] = number
        note_state(known[source] for source in self.inputs if is_state(source))
        for node in self.nodes:
            if node in self.cats:
                parts, dim = operands(node) or ((), 0)
                whole = tuple(map(known.__getitem__, parts)), dim
                known[node] = body.call_function(torch.cat, whole)
                continue
            known[node] = body.node_copy(node, known.__getitem__)
            known[node].meta = {}
        body.output(tuple(known[node] for node in self.leaving))
        return body


def _reorder(segment: Sequence[fx.Node], chains: Sequence[_Chain]) -> None:
    """Let the nodes of each chain stand together, all others as near to their places as can be.

    What stands together goes by its last node.
    """
    items = {node: [node] for node in segment}
    sources = {node: node.all_input_nodes for node in segment}
    last = {node: node for node in segment}
    for chain in chains:
        *others, end = moved = chain.moved
        items[end], sources[end] = moved, chain.inputs
        last.update(dict.fromkeys(moved, end))
        for node in others:
            del items[node]
    before = segment[0].prev
    for end in _in_order({end: {last[of] for of in sources[end] if of in last} for end in items}):
        for node in items[end]:
            before.append(node)
            before = node


def _in_order(waits: dict[fx.Node, set[fx.Node]]) -> Iterator[fx.Node]:
    """Nodes after those they wait for; of all that could be next, the one that stood first."""
    nodes, readers = list(waits), dict[fx.Node, list[fx.Node]]()
    for node, sources in waits.items():
        for source in sources:
            readers.setdefault(source, []).append(node)
    place = {node: number for number, node in enumerate(nodes)}
    ready = [place[node] for node in nodes if not waits[node]]
    while ready:
        node = nodes[heappop(ready)]
        yield node
        for reader in readers.get(node, []):
            waits[reader].discard(node)
            if not waits[reader]:
                heappush(ready, place[reader])
