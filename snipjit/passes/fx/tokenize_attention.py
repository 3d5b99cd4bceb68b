"""TokenizeAttention: finds attention in an FX graph by walking from its softmax or SDPA call."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from snipjit.passes.base import Pass
from snipjit.passes.fx.absorb_results import absorb_result
from snipjit.passes.fx.candidate import Candidate, Refusal, RefusedError, Tokenization
from snipjit.passes.fx.head_scale import materialize
from snipjit.passes.fx.op_table import lookup, mutated
from snipjit.passes.fx.region import Region, find_region
from snipjit.passes.fx.traced import tensor
from snipjit.passes.fx.translate import Translator
from snipjit.passes.fx.value_flow import ValueFlow


@dataclass(frozen=True)
class TokenizeAttention(Pass):
    """One candidate for each product ▸ … ▸ softmax ▸ … ▸ product, and for each SDPA call.

    The walk knows a grammar, not templates: between the products any op of the table may stand, in
    any order and number; what else meets the chain is a side input or a scalar.

    Before:  %s = matmul(q, k.transpose(2, 3)); %a = s * 0.125; %m = a + mask
             %p = softmax(m, -1); %o = matmul(p, v); %r = o.transpose(1, 2)
    After:   %q, %k, %v, %a = parameter …; %s0 = scalar
             %0 = transpose %k; %1 = matmul %q %0; %2 = mul %1 %s0; %3 = add %2 %a
             %4 = softmax %3; %5 = matmul %4 %v; %6 = transpose %5; result %6
    """

    def run(self, ir: fx.GraphModule) -> Tokenization:
        """Every candidate and refusal of a graph module.

        The graph keeps its meaning; where a scale follows from a symbolic size, nodes compute it.
        """
        flow = ValueFlow(ir.graph)
        taken: set[fx.Node] = set()
        candidates: list[Candidate] = []
        refusals: list[Refusal] = []
        for anchor in ir.graph.nodes:
            if not _is_anchor(flow, anchor):
                continue
            try:
                candidate = _candidate(flow, anchor, taken)
            except RefusedError as refused:
                refusals.append(Refusal(anchor.name, str(refused)))
                continue
            candidates.append(candidate)
            taken.update(candidate.nodes)
        return Tokenization(tuple(candidates), tuple(refusals))


def _is_anchor(flow: ValueFlow, node: fx.Node) -> bool:
    """Whether a node is a softmax, an SDPA call, or the exp of a written-out softmax."""
    call = lookup(node)
    if call is None or call.op != "exp":
        return call is not None and call.op in ("softmax", "sdpa")
    readers = [lookup(reader) for reader in flow.consumers(node)]
    return any(reader is not None and reader.op == "sum" for reader in readers)


def _candidate(flow: ValueFlow, anchor: fx.Node, taken: set[fx.Node]) -> Candidate:
    region = find_region(flow, anchor)
    _check(flow, region, taken)
    translator = Translator(flow, region.nodes, taken)
    value = translator.value(region.last)
    writer = translator.writer
    value, output, absorbed = absorb_result(flow, writer, region.last, value)
    subgraph = writer.finish(value, output, translator.heads)
    nodes = sorted(translator.covered | absorbed, key=lambda node: flow.index[node])
    tensors = tuple(node for node, _ in writer.ordered())
    if (changed := flow.mutation(tensors, nodes)) is not None:
        raise RefusedError(f"`{changed}` changes an operand in place before the result is read")
    scalars = materialize(writer.scalars, nodes[-1])
    return Candidate(subgraph, tensors, scalars, (output,), tuple(nodes))


def _check(flow: ValueFlow, region: Region, taken: set[fx.Node]) -> None:
    if shared := [node.name for node in region.nodes if node in taken]:
        raise RefusedError(f"`{shared[0]}` is part of the attention before it")
    if any(isinstance(size, int) and size == 0 for size in tensor(region.last).shape):
        raise RefusedError(f"`{region.last.name}` is empty; accepted: sizes from 1")
    for node in region.nodes:
        if mutated(node) is not None and (why := flow.outlives(node, region.nodes)) is not None:
            raise RefusedError(f"`{node.name}` works in place and {why}; accepted: own results")
