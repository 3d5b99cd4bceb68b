"""What a pattern is: which regions of a graph it would take, and why not others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.lifter import Lifter
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.refused import ExpectedError
from snipjit.passes.fx.nodes.traced import DTYPES, Size, is_tensor, literal, tensor


@dataclass(frozen=True)
class Region:
    """Nodes in graph order that become one kernel; ``products`` make the results.

    What else of it is read outside becomes a further result. ``is_only`` tells that no other
    products were to choose from.
    """

    nodes: tuple[fx.Node, ...]
    products: tuple[fx.Node, ...]
    is_only: bool = True

    @staticmethod
    def of(flow: ValueFlow, nodes: Collection[fx.Node]) -> Region:
        """The nodes in order; what they end in are the results."""
        place = flow.index.__getitem__
        return Region(
            tuple(sorted(nodes, key=place)), tuple(sorted(ends_of(flow, nodes), key=place))
        )


def ends_of(flow: ValueFlow, nodes: Collection[fx.Node]) -> set[fx.Node]:
    """The nodes that no other ones read."""
    return {n for n in nodes if not any(reader in nodes for reader in flow.consumers(n))}


CHEAP = ("arithmetic", "choice", "cast", "comparison", "logic")
"""Kinds of functions that may be computed anew wherever their result is read."""

IDLE = ("cast", "dropout")
"""What may stand in a chain beside elementwise functions."""


def refuse_empty(nodes: Iterable[fx.Node]) -> None:
    """ExpectedError where there is nothing to go over: kernels by features have at least a row."""
    for node in nodes:
        if is_tensor(node) and any(literal(size) == 0 for size in tensor(node).shape):
            raise ExpectedError(f"`{node.name}` is empty; accepted: sizes from 1")


def is_pointwise(node: fx.Node) -> bool:
    """Whether a node makes each element of its result of one of each operand."""
    call = lookup(node)
    if call is None or not is_tensor(node) or tensor(node).dtype not in DTYPES:
        return False
    known = is_elementwise(call.op) or call.op in (*IDLE, "unsqueeze", "expand")
    return known and mutated(node) is None


class Pattern(ABC):
    """Finds regions; it looks at the graph and changes nothing.

    A new one is a file with a subclass, and a line in ``PATTERNS``. What its regions compute is
    lifted whatever it is; layout ops and scaling above operands of products, functions of indices
    above other tensors, and layout ops below results are taken in without being asked for.

    Attributes:
        name: of its Subgraphs.
        surprises: whether to warn of what is refused.
        has_masks: whether other tensors may be masks, of which functions of indices are taken in.
    """

    name: str
    has_masks = True
    surprises = True

    @abstractmethod
    def is_anchor(self, flow: ValueFlow, node: fx.Node) -> bool:
        """Whether a region may be around a node."""

    @abstractmethod
    def regions(
        self, flow: ValueFlow, anchor: fx.Node, taken: Collection[fx.Node]
    ) -> Sequence[Region]:
        """The regions around an anchor: the first holds all others; the first that lifts is taken.
        Without any there is nothing to take and nothing to tell.

        ``taken`` are nodes of other regions. Raises RefusedError with the reason if there is none,
        ``ExpectedError`` if that surprises nobody.
        """

    def check_feature(self, node: fx.Node, size: Size) -> None:
        """Raise RefusedError for a size of features (see ``Lifter``) that is not accepted."""

    def is_fixed(self, flow: ValueFlow, node: fx.Node) -> bool:
        """Whether all sizes of a factor are compiled in, and not that of its features alone."""
        return False

    def check(self, lifter: Lifter, anchor: fx.Node, region: Region) -> None:
        """Raise RefusedError for a region that, once lifted, is not what was looked for."""
