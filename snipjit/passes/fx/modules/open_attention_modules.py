"""OpenAttentionModules: writes out the modules that reach a backend as one opaque node."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from snipjit.passes.base import Pass
from snipjit.passes.fx.graph.candidate import Tokenization
from snipjit.passes.fx.graph.node_writer import NodeWriter
from snipjit.passes.fx.graph.opening import Opening, erase
from snipjit.passes.fx.modules.encoder_layer import encoder_layer
from snipjit.passes.fx.modules.multi_head_attention import multi_head_attention
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import tensor, traced_value
from snipjit.refusal import Refusal
from snipjit.torch_private import ENCODER_LAYER, ENCODER_LAYER_OVERLOAD

Opener = Callable[[fx.Node, NodeWriter, frozenset[int]], dict[int, fx.Node]]

MODULES: dict[Callable[..., Any] | str, Opener] = {
    F.multi_head_attention_forward: multi_head_attention,
    ENCODER_LAYER: encoder_layer,
    ENCODER_LAYER_OVERLOAD: encoder_layer,
}


@dataclass(frozen=True)
class OpenAttentionModules(Pass):
    """Puts the parts of an attention module in its place, for the tokenizers to find.

    Before:  %m = multi_head_attention_forward(x, x, x, 16, 4, …, need_weights=False)
             %o = m[0]; %r = relu(o)
    After:   %p = linear(x, w, b).unflatten(-1, (3, 4, 4)); %q, %k, %v = p.select(2, i).permute(…)
             %a = scaled_dot_product_attention(q, k, v); %o = linear(a.permute(…).flatten(2), …)
             %r = relu(o)

    What was opened can be closed again: see ``Opening``. ``pattern`` is what is looked for first in
    the parts, and not found where a module stays closed.
    """

    pattern: str = "attention"

    def run(self, ir: fx.GraphModule) -> Tokenization:
        """The openings of a graph module, and the modules that stay closed with the reason."""
        openings: list[Opening] = []
        refusals: list[Refusal] = []
        values: dict[Hashable, Any] = {}
        for node in list(ir.graph.nodes):
            if node.op != "call_function" or node.target not in MODULES or not node.users:
                continue
            write = NodeWriter(node, values)
            try:
                opening = _opening(node, write)
            except RefusedError as refused:
                erase(write.nodes)
                refusals.append(Refusal(node.name, str(refused), self.pattern))
                continue
            opening.open()
            openings.append(opening)
        return Tokenization((), tuple(refusals), tuple(openings))


def _opening(node: fx.Node, write: NodeWriter) -> Opening:
    readers = _readers(node)
    found = MODULES[node.target](node, write, frozenset(readers.values()))
    if missing := [old.name for old, index in readers.items() if index not in found]:
        raise RefusedError(f"`{missing[0]}` reads a result that `{node.name}` does not give")
    results = tuple((old, found[index]) for old, index in readers.items())
    for old, new in results:
        if tensor(old).dtype is not tensor(new).dtype:
            raise RefusedError(
                f"`{old.name}` would become {tensor(new).dtype}: autocast is on around its graph"
            )
    return Opening(node, results, tuple(write.nodes))


def _readers(node: fx.Node) -> dict[fx.Node, int]:
    """The nodes that stand for the results of a module, with the index of each."""
    example = traced_value(node)
    if isinstance(example, torch.Tensor):
        return {node: 0}
    found: dict[fx.Node, int] = {}
    for user in node.users:
        if user.target is not operator.getitem or not isinstance(user.args[1], int):
            raise RefusedError(
                f"`{user.name}` takes all results of `{node.name}`; accepted: one by one"
            )
        found[user] = user.args[1]
    return found
