"""What tokenization yields: subgraphs to compile, and what it left alone with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import fx

from snipjit.errors import SlowerError, UnsupportedError
from snipjit.ir.subgraph import Subgraph
from snipjit.passes.fx.graph.head_scale import HeadScale
from snipjit.passes.fx.graph.opening import Opening
from snipjit.passes.fx.nodes.traced import is_state
from snipjit.refusal import Refusal

Number = fx.Node | float | HeadScale


@dataclass(frozen=True)
class Candidate:
    """A positional Subgraph and the FX nodes it stands for.

    ``tensors`` and ``scalars`` are the call's arguments, in the order of the Subgraph's parameters
    and scalars; integers among the tensors are converted to float32 for it. ``outputs`` are the
    nodes whose values the results replace; ``nodes`` all that the Subgraph computes, in graph
    order. The call stands before ``place``: the first reader of a result, or the last of ``nodes``.
    ``versions`` tells of readers outside which version, made in place, of a tensor they mention is
    the one they read. ``surprises`` tells whether to warn where it cannot be compiled. Equal
    candidates share their ``subgraph``.
    """

    subgraph: Subgraph
    tensors: tuple[fx.Node, ...]
    scalars: tuple[Number, ...]
    outputs: tuple[fx.Node, ...]
    nodes: tuple[fx.Node, ...]
    place: fx.Node
    versions: Mapping[tuple[fx.Node, fx.Node], fx.Node]
    surprises: bool = True

    @property
    def pattern(self) -> str:
        """The name of the pattern that found it."""
        return self.subgraph.name

    @property
    def weights(self) -> tuple[int, ...]:
        """The numbers of the tensors that are the module's own, the same ones at each call."""
        inputs = ("placeholder", "get_attr")
        found = enumerate(self.tensors)
        return tuple(number for number, node in found if node.op in inputs and is_state(node))

    def refused(self, reason: str | UnsupportedError) -> Refusal:
        """Why it keeps its nodes."""
        small = not self.surprises and isinstance(reason, UnsupportedError)
        is_expected = small or isinstance(reason, SlowerError)
        return Refusal(self.outputs[0].name, str(reason), self.pattern, is_expected)


@dataclass(frozen=True)
class Tokenization:
    """Every candidate, every refusal and every opened module of a graph, in graph order.

    Who substitutes the candidates closes the ``openings`` afterwards.
    """

    candidates: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]
    openings: tuple[Opening, ...] = ()
