"""Tokenization: a torch.fx graph in, the same graph with calls of compiled Subgraphs out.

``tokenize`` finds candidates, the caller compiles their Subgraphs, ``substitute`` puts the kernels
into the graph. The groups, each of which knows only those before it:

============  =================================================================================
``nodes``     one node: what tracing left on it, which operation it is
``graph``     whole graphs: data flow, candidates, putting kernels in
``modules``   modules that reach a backend as one opaque node, written out
``index``     tensors that are functions of indices: ranges, and what is made of them
``lift``      any region of pure operations to a positional Subgraph
``patterns``  which regions are taken: one file a pattern, and ``recognise``, which asks them
============  =================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from snipjit.passes.fx.graph.bodies import with_bodies
from snipjit.passes.fx.graph.candidate import Candidate, Tokenization
from snipjit.passes.fx.graph.chains import chain_launches
from snipjit.passes.fx.graph.earlier_views import note_earlier_views
from snipjit.passes.fx.graph.gradients import NEEDS_GRAD, needs_grad
from snipjit.passes.fx.graph.grown_tensors import grown_tensors
from snipjit.passes.fx.graph.plain_graph import make_plain
from snipjit.passes.fx.graph.substitute import forget, is_needed, substitute
from snipjit.passes.fx.graph.writes import note_writes
from snipjit.passes.fx.modules.open_attention_modules import OpenAttentionModules
from snipjit.passes.fx.nodes.traced import is_state, note_state
from snipjit.passes.fx.patterns.attention import Attention
from snipjit.passes.fx.patterns.elementwise import Elementwise
from snipjit.passes.fx.patterns.linear import Convolution, Linear
from snipjit.passes.fx.patterns.normalization import Normalization
from snipjit.passes.fx.patterns.own_nodes import own_nodes
from snipjit.passes.fx.patterns.pattern import Pattern
from snipjit.passes.fx.patterns.recognise import recognise

PATTERNS: tuple[Pattern, ...] = (Attention(), Linear(), Normalization(), Elementwise())
"""In the order in which they take regions; another pattern is another line."""

ON_REQUEST: tuple[Pattern, ...] = (Convolution(),)
"""Those of which options ask."""


def tokenize(gm: fx.GraphModule, patterns: Sequence[Pattern] | None = None) -> Tokenization:
    """What every pattern finds, modules opened on the way; the graph keeps its meaning."""
    patterns = PATTERNS if patterns is None else patterns
    if not patterns:
        return Tokenization((), ())
    note_writes(gm.graph)
    note_earlier_views(gm.graph)
    opened = OpenAttentionModules(patterns[0].name).run(gm)
    make_plain(gm.graph)
    found = recognise(gm.graph, patterns)
    refusals = (*opened.refusals, *found.refusals)
    return Tokenization(found.candidates, refusals, opened.openings)


__all__ = [
    "NEEDS_GRAD",
    "ON_REQUEST",
    "PATTERNS",
    "Candidate",
    "Tokenization",
    "chain_launches",
    "forget",
    "grown_tensors",
    "is_needed",
    "is_state",
    "needs_grad",
    "note_state",
    "own_nodes",
    "substitute",
    "tokenize",
    "with_bodies",
]
