"""Tokenization: a torch.fx graph in, the same graph with calls of compiled Subgraphs out.

``tokenize`` finds candidates, the caller compiles their Subgraphs, ``substitute`` puts the kernels
into the graph. Two modules are passes, the others are their parts, best read in this order:

==============  ===============================================================================
the graph       ``traced``, ``op_table``, ``in_place``, ``earlier_views``, ``arguments``,
                ``value_flow``, ``writes`` (``places``, ``part_views``), ``bodies``
find            ``tokenize_attention``, ``region``, ``plain_graph``, ``gradients``
translate       ``translate``, ``translate_*``, ``axes``, ``layouts``, ``expansion``, ``expand_*``
take in         ``absorb_*``: operands, masks (``mask_walk``, ``index_*``, ``indices``, ``created``,
                ``fills``, ``triangles``, ``head_scale``), results (``extra_results``)
give back       ``candidate``, ``refused``, ``subgraph_writer``, ``unknown_sizes``, ``substitute``
open modules    ``open_attention_modules``, ``multi_head_attention``, ``encoder_layer``,
                ``opening``, ``node_writer``, ``traceable``
==============  ===============================================================================
"""

from __future__ import annotations

from torch import fx

import snipjit.passes.fx.graph.traceable  # noqa: F401  (models keep whole graphs)
from snipjit.passes.fx.graph.bodies import with_bodies
from snipjit.passes.fx.graph.candidate import Candidate, Tokenization
from snipjit.passes.fx.graph.earlier_views import note_earlier_views
from snipjit.passes.fx.graph.gradients import NEEDS_GRAD, needs_grad
from snipjit.passes.fx.graph.own_nodes import own_nodes
from snipjit.passes.fx.graph.substitute import forget, substitute
from snipjit.passes.fx.graph.writes import note_writes
from snipjit.passes.fx.modules.open_attention_modules import OpenAttentionModules
from snipjit.passes.fx.patterns.tokenize_attention import TokenizeAttention

PIPELINE = (
    OpenAttentionModules(),  # first: what it writes is for the tokenizers to find
    TokenizeAttention(),  # the only tokenizer so far; another pattern is another line
)


def tokenize(gm: fx.GraphModule) -> Tokenization:
    """What every pass finds, modules opened on the way; the graph keeps its meaning."""
    note_writes(gm.graph)
    note_earlier_views(gm.graph)
    found = [tokenizer.run(gm) for tokenizer in PIPELINE]
    return Tokenization(
        tuple(candidate for tokens in found for candidate in tokens.candidates),
        tuple(refusal for tokens in found for refusal in tokens.refusals),
        tuple(opening for tokens in found for opening in tokens.openings),
    )


__all__ = [
    "NEEDS_GRAD",
    "PIPELINE",
    "Candidate",
    "Tokenization",
    "forget",
    "needs_grad",
    "own_nodes",
    "substitute",
    "tokenize",
    "with_bodies",
]
