"""Recognise: from patterns and a graph to candidates and refusals; the graph is not changed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial

from torch import fx

from snipjit.passes.fx.graph.candidate import Candidate, Tokenization
from snipjit.passes.fx.graph.value_flow import Looked, ValueFlow
from snipjit.passes.fx.index.index_values import IndexValues
from snipjit.passes.fx.lift.lifter import Lifter
from snipjit.passes.fx.lift.results import lowest_result
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import ExpectedError, RefusedError, Remembered
from snipjit.passes.fx.nodes.traced import is_tensor
from snipjit.passes.fx.patterns.equal_regions import Known, form_of
from snipjit.passes.fx.patterns.extra_results import check_order, extra_results
from snipjit.passes.fx.patterns.pattern import Pattern, Region
from snipjit.refusal import Refusal


def recognise(graph: fx.Graph, patterns: Sequence[Pattern]) -> Tokenization:
    """Every candidate and refusal of a graph, pattern by pattern; no node is in two candidates."""
    recognition = Recognition(graph)
    for pattern in patterns:
        recognition.find(pattern)
    return Tokenization(tuple(recognition.candidates), tuple(recognition.refusals))


class Recognition:
    """What was found so far in one graph; ``taken`` has the place of each taken node's kernel."""

    def __init__(self, graph: fx.Graph) -> None:
        self.graph = graph
        self.flow = ValueFlow(graph)
        self.indices = IndexValues(self.flow)
        self.taken: dict[fx.Node, fx.Node] = {}
        self.candidates: list[Candidate] = []
        self.refusals: list[Refusal] = []
        self.known: list[Known] = []
        self.too_long: set[fx.Node] = set()
        self.forms = Remembered(form_of)

    def find(self, pattern: Pattern) -> None:
        """Add what a pattern finds."""
        self.known, self.too_long = [], set()
        for anchor in self.graph.nodes:
            if (
                anchor in self.taken
                or anchor in self.too_long
                or not pattern.is_anchor(self.flow, anchor)
            ):
                continue
            try:
                candidate = self._known_candidate(anchor) or self._candidate(pattern, anchor)
            except RefusedError as refused:
                expected = isinstance(refused, ExpectedError) or not pattern.surprises
                self.refusals.append(Refusal(anchor.name, str(refused), pattern.name, expected))
                continue
            if candidate is None:
                continue
            self.candidates.append(candidate)
            self.taken.update(dict.fromkeys(candidate.nodes, candidate.place))

    def _known_candidate(self, anchor: fx.Node) -> Candidate | None:
        """That of an anchor in surroundings that were lifted before."""
        self.flow.looked = Looked()
        for known in self.known:
            if (found := known.around(self.flow, anchor, self.taken)) is not None:
                with suppress(RefusedError):
                    return self._placed(self._unseen(*found))
        return None

    def _unseen(self, region: Region, found: Candidate) -> Candidate:
        """A candidate of known form; refused if its writes in place are seen outside its region."""
        if not any(map(self.flow.is_mutated, region.nodes)):
            return found
        self._check(region)
        return replace(found, versions=extra_results(self.flow, region).versions)

    def _candidate(self, pattern: Pattern, anchor: fx.Node) -> Candidate | None:
        """That of the first region that lifts; the reason against the last one otherwise; None
        without regions.

        Each region is lifted by itself: what is not in it was made where it stands, before a write
        in place perhaps. One whose masks, as functions of indices, make it refused is lifted with
        masks that are tensors.
        """
        self.flow.looked = Looked({anchor})
        regions = pattern.regions(self.flow, anchor, self.taken)
        if not regions:
            return None
        self.flow.looked.nodes.update(regions[0].nodes)
        lifter = cache(partial(self._lifter, pattern))
        known = self.indices if pattern.has_masks else None
        for region, indices in itertools.product(regions, dict.fromkeys((known, None))):
            if indices is known or lifter(region, known).has_indices:
                own = lifter(region, indices)
                try:
                    found = self._placed(self._lifted(pattern, anchor, region, own))
                except RefusedError as refused:
                    reason = refused
                    continue
                except RecursionError:  # each operation above another takes a few frames
                    self.too_long.update(regions[0].nodes)
                    raise RefusedError(f"`{anchor.name}` is one of too many operations") from None
                self._keep(anchor, region, found)
                return found
        raise reason

    def _keep(self, anchor: fx.Node, region: Region, found: Candidate) -> None:
        """A candidate for others to equal. What is looked at from now on is not for its sake."""
        looked, self.flow.looked = self.flow.looked, Looked()
        self.known.insert(
            0, Known(anchor, region, found, looked, frozenset(self.taken), self.forms)
        )

    def _lifter(self, pattern: Pattern, region: Region, indices: IndexValues | None) -> Lifter:
        nodes = set(region.nodes)
        check, is_fixed = pattern.check_feature, partial(pattern.is_fixed, self.flow)
        return Lifter(self.flow, nodes, self.taken, check, indices, is_fixed)

    def _lifted(
        self, pattern: Pattern, anchor: fx.Node, region: Region, lifter: Lifter
    ) -> Candidate:
        """The candidate of a region."""
        flow, writer = self.flow, lifter.writer
        self._check(region)
        results = [(lifter.value(product), product) for product in region.products]
        covered = set(region.nodes)
        lowest = [lowest_result(flow, writer, node, value, self.taken) for value, node in results]
        covered.update(*(below for *_, below in lowest))
        flow.looked.nodes.update(covered)
        pattern.check(lifter, anchor, region)
        extra = extra_results(flow, region)
        ends = [(value, node) for value, node, _ in lowest]
        ends += [(lifter.value(node), node) for node in extra.results]
        finished = writer.finish(pattern.name, ends, lifter.static)
        covered.update(*(lifter.stands_for.get(value, ()) for value in finished.values))
        nodes = tuple(sorted(covered - extra.kept, key=flow.index.__getitem__))
        return Candidate(
            finished.subgraph,
            tuple(writer.tensors[name] for name in finished.parameters),
            tuple(writer.scalars[name] for name in finished.scalars),
            tuple(node for _, node in ends),
            nodes,
            nodes[-1],
            extra.versions,
            pattern.surprises,
        )

    def _placed(self, found: Candidate) -> Candidate:
        """A candidate with its place; refused where there is none at which all operands are."""
        flow = self.flow
        scalars = [scalar for scalar in found.scalars if isinstance(scalar, fx.Node)]
        operands = [*found.tensors, *scalars]
        place = check_order(flow, found.nodes, found.outputs, operands, self.taken)
        read = [*found.tensors, *(scalar for scalar in scalars if is_tensor(scalar))]
        if (changed := flow.mutation(read, found.nodes, place)) is not None:
            raise RefusedError(f"`{changed}` changes an operand in place before the result is read")
        return replace(found, place=place)

    def _check(self, region: Region) -> None:
        if shared := [node.name for node in region.nodes if node in self.taken]:
            raise RefusedError(f"`{shared[0]}` is part of the kernel before it")
        for node in region.nodes:
            if mutated(node) is None:
                continue
            if (why := self.flow.outlives(node, region.nodes)) is not None:
                raise RefusedError(f"`{node.name}` works in place and {why}; accepted: own results")
