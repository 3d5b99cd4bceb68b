"""Tokenization: a torch.fx graph in, the same graph with calls of compiled Subgraphs out.

``tokenize`` finds candidates, the caller compiles their Subgraphs, ``substitute`` puts the kernels
into the graph.
"""

from __future__ import annotations

from torch import fx

import snipjit.passes.fx.traceable  # noqa: F401  (models keep whole graphs)
from snipjit.passes.fx.bodies import with_bodies
from snipjit.passes.fx.candidate import Candidate, Refusal, Tokenization
from snipjit.passes.fx.gradients import needs_grad
from snipjit.passes.fx.open_attention_modules import OpenAttentionModules
from snipjit.passes.fx.substitute import forget, substitute
from snipjit.passes.fx.tokenize_attention import TokenizeAttention

PIPELINE = (
    OpenAttentionModules(),  # first: what it writes is for the tokenizers to find
    TokenizeAttention(),  # the only tokenizer so far; another pattern is another line
)


def tokenize(gm: fx.GraphModule) -> Tokenization:
    """What every pass finds, modules opened on the way; the graph keeps its meaning."""
    found = [tokenizer.run(gm) for tokenizer in PIPELINE]
    return Tokenization(
        tuple(candidate for tokens in found for candidate in tokens.candidates),
        tuple(refusal for tokens in found for refusal in tokens.refusals),
        tuple(opening for tokens in found for opening in tokens.openings),
    )


__all__ = [
    "PIPELINE",
    "Candidate",
    "Refusal",
    "Tokenization",
    "forget",
    "needs_grad",
    "substitute",
    "tokenize",
    "with_bodies",
]
