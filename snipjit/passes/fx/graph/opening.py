"""An opened module: what was written for its one node, and the way back.

The node itself stays in the graph, read by nothing, until it is known whether any part of it
became a kernel. If not, it takes its place again: PyTorch's own code is faster than its parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import fx

from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.in_place import mutated

_SET_ASIDE = "snipjit_set_aside"


def is_set_aside(node: fx.Node) -> bool:
    """Whether a node only waits in the graph to take its place again, and so reads nothing."""
    return bool(node.meta.get(_SET_ASIDE))


@dataclass(frozen=True)
class Opening:
    """A node that stands for a module, and the nodes that say what it means.

    ``results`` are pairs of a node that stood for a result of the module (the module's own, or the
    getitem of one of its results) and the node in its place; ``nodes`` are all that were written,
    in graph order.
    """

    original: fx.Node
    results: tuple[tuple[fx.Node, fx.Node], ...]
    nodes: tuple[fx.Node, ...]

    def open(self) -> None:
        """Lets the graph read the parts."""
        for old, new in self.results:
            # What comes after was traced with the old value: its storage, its symbols.
            new.meta.update(old.meta)
            old.replace_all_uses_with(new)
            if old is not self.original:
                old.graph.erase_node(old)
        self.original.meta[_SET_ASIDE] = True

    def close(self, fused: Iterable[fx.Node]) -> None:
        """Erases the original if one of its parts is among ``fused`` nodes, else the parts."""
        del self.original.meta[_SET_ASIDE]
        if set(fused).isdisjoint(self.nodes):
            self._restore()
        else:
            sources = self.original.all_input_nodes
            self.original.graph.erase_node(self.original)
            _erase_producers(sources)

    def _restore(self) -> None:
        graph, own = self.original.graph, set(self.nodes)
        for old, new in self.results:
            again = self.original
            if old is not again:
                index = old.args[1]
                with graph.inserting_before(self.original.next):
                    again = graph.create_node("call_function", old.target, (again, index))
                again.meta = dict(old.meta)
            new.replace_all_uses_with(again, delete_user_cb=lambda user: user not in own)
        present = own.intersection(graph.nodes)
        erase([node for node in self.nodes if node in present])


def erase(nodes: Iterable[fx.Node]) -> None:
    """Erase those of some nodes, given in graph order, that nothing reads."""
    for node in reversed(list(nodes)):
        if not node.users:
            node.graph.erase_node(node)


def _erase_producers(pending: list[fx.Node]) -> None:
    """Erase the views and numbers that only the original has read."""
    erased: set[fx.Node] = set()
    while pending:
        node = pending.pop()
        pure = (lookup(node) is not None or node.target == "item") and mutated(node) is None
        if pure and not node.users and node not in erased:
            pending += node.all_input_nodes
            node.graph.erase_node(node)
            erased.add(node)
