"""Who reads which value, in-place ops included.

After ``m = x.add_(y)`` every later mention of ``x`` means ``m``. ``ValueFlow`` resolves that, so
that a graph with in-place ops reads like one without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import fx

from snipjit.passes.fx.graph.opening import is_set_aside
from snipjit.passes.fx.nodes.calls import is_check
from snipjit.passes.fx.nodes.in_place import all_mutated, mutated
from snipjit.passes.fx.nodes.traced import storage
from snipjit.passes.fx.nodes.written import written


@dataclass(frozen=True)
class Looked:
    """What was asked of a flow, all of it to be found from one node on by operands and by readers.

    nodes    those that were looked at
    opened   those of them whose operands were read, ...
    readers  ... and whose readers
    """

    nodes: set[fx.Node] = field(default_factory=set)
    opened: set[fx.Node] = field(default_factory=set)
    readers: set[fx.Node] = field(default_factory=set)

    def add(self, other: Looked) -> None:
        """Count what another has seen as seen."""
        self.nodes.update(other.nodes)
        self.opened.update(other.opened)
        self.readers.update(other.readers)


class ValueFlow:
    """The data flow of a graph between versions of values.

    Before:  %w = matmul(%q, %k); %a = w.mul_(2); %b = softmax(%w)
    After:   %a reads %w, %b reads %a
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.index: dict[fx.Node, int] = {}
        self.looked = Looked()
        self._reads: dict[tuple[fx.Node, fx.Node], fx.Node] = {}
        self._consumers: dict[fx.Node, list[fx.Node]] = {}
        self._root: dict[fx.Node, fx.Node] = {}
        self._changed: set[int | None] = set()
        self.writes: list[tuple[fx.Node, fx.Node]] = []
        self._versions: dict[fx.Node, list[fx.Node]] = {}
        latest: dict[fx.Node, fx.Node] = {}
        for index, node in enumerate(graph.nodes):
            self.index[node] = index
            self._consumers[node] = []
            for source in node.all_input_nodes:
                version = latest.get(self.root(source), source)
                self._reads[node, source] = version
                if not is_check(node) and not is_set_aside(node):
                    self._consumers[version].append(node)
            if node.target is written:
                self._versions.setdefault(node.all_input_nodes[1], []).append(node)
            for target in all_mutated(node):
                self._changed.add(storage(target))
                self.writes.append((node, target))
                if storage(node) == storage(target):
                    self._root[node] = self.root(target)
                    latest[self.root(target)] = node

    @cached_property
    def aliases(self) -> dict[int, list[fx.Node]]:
        """The tensors that lie in one storage, in graph order."""
        found: dict[int, list[fx.Node]] = {}
        for node in self.index:
            if (shared := storage(node)) is not None:
                found.setdefault(shared, []).append(node)
        return found

    def is_mutated(self, node: fx.Node) -> bool:
        """Whether any op of the graph works in place on the memory of a tensor."""
        return bool(self._changed) and storage(node) in self._changed

    def root(self, node: fx.Node) -> fx.Node:
        """The node that made the tensor of which ``node`` is a version."""
        return self._root.get(node, node)

    def read(self, reader: fx.Node, mentioned: fx.Node) -> fx.Node:
        """The version of ``mentioned`` whose value ``reader`` sees."""
        version = self.version(reader, mentioned)
        self.looked.nodes.add(reader)
        self.looked.opened.add(reader)
        if isinstance(version, fx.Node):  # an argument may be left out
            self.looked.nodes.add(version)
        return version

    def version(self, reader: fx.Node, mentioned: fx.Node) -> fx.Node:
        """The same, and it does not count as looked at."""
        return self._reads.get((reader, mentioned), mentioned)

    def operands(self, node: fx.Node) -> list[fx.Node]:
        """The values a node reads, in operand order."""
        return [self.read(node, source) for source in node.all_input_nodes]

    def consumers(self, node: fx.Node) -> list[fx.Node]:
        """The nodes that read this version of a value, in graph order."""
        self.looked.readers.add(node)
        return self._consumers[node]

    def versions(self, node: fx.Node) -> list[fx.Node]:
        """The nodes that stand for tensors after ``node`` has written into a part of them."""
        return self._versions.get(node, [])

    def outlives(self, node: fx.Node, region: Iterable[fx.Node]) -> str | None:
        """Why the in-place ``node`` is visible outside ``region``, or None.

        All aliases made before it must be in the region, and only versions may be read after it.
        """
        inside = set(region)
        versions = self.versions(node)
        end = self.index[versions[-1] if versions else node]
        for version in versions:
            if version not in inside and version.users:
                base = version.all_input_nodes[0].name
                return f"`{next(iter(version.users)).name}` reads `{base}` later"
        for alias in self._aliases_before(node):
            if alias not in inside:
                return f"it changes `{alias.name}`, which was made outside"
            late = [user for user in alias.users if self.index[user] > end]
            late = [user for user in late if not self._only_written(alias, user)]
            if late and self.root(alias) is not self.root(node):
                return f"`{late[0].name}` reads its alias `{alias.name}` later"
        return None

    def _aliases_before(self, node: fx.Node) -> list[fx.Node]:
        target = mutated(node)
        shared = storage(target) if target is not None else None
        aliases = self.aliases.get(shared, []) if shared is not None else []
        return [alias for alias in aliases if self.index[alias] < self.index[node]]

    def _only_written(self, alias: fx.Node, user: fx.Node) -> bool:
        """Whether ``user`` reads nothing of an alias, but writes to it, or is a view for writes."""
        if mutated(user) is not None:
            mentions: list[fx.Node] = []
            fx.node.map_arg((user.args, user.kwargs), lambda node: mentions.append(node))
            return mutated(user) is alias and mentions.count(alias) == 1 and user in self._versions
        viewed = storage(user) == storage(alias) and user.target is not written
        return viewed and all(self._only_written(user, other) for other in user.users)

    def mutation(
        self, tensors: Iterable[fx.Node], nodes: Sequence[fx.Node], place: fx.Node
    ) -> str | None:
        """The op that changes one of ``tensors`` between two reads that become one, or None.

        A kernel reads all its tensors before ``place``, each of ``nodes`` where it stood.
        """
        last, own = self.index[nodes[-1]], set(nodes)
        for tensor in tensors:
            reads = [self.index[user] for user in self.consumers(tensor) if user in own]
            first = min([*reads, self.index[place]])
            for node, target in self.writes:
                between = first < self.index[node] < last and node not in own
                if between and storage(target) == storage(tensor):
                    return node.name
        return None
