"""TokenizeAttention: finds attention in an FX graph by walking from its softmax or SDPA call."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import fx

from snipjit.passes.base import Pass
from snipjit.passes.fx.graph.candidate import Candidate, Tokenization
from snipjit.passes.fx.graph.plain_graph import make_plain
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.index.index_values import IndexValues
from snipjit.passes.fx.lift.absorb_masks import MaskAbsorber
from snipjit.passes.fx.lift.absorb_results import absorb_result
from snipjit.passes.fx.lift.head_scale import materialize
from snipjit.passes.fx.lift.translate import Translator
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.op_table import lookup
from snipjit.passes.fx.nodes.refused import NoProductError, RefusedError
from snipjit.passes.fx.nodes.traced import is_tensor, same, tensor
from snipjit.passes.fx.patterns.extra_results import check_order, extra_results
from snipjit.passes.fx.patterns.region import Region, find_region, value_products
from snipjit.refusal import Refusal


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
        make_plain(ir.graph)
        flow = ValueFlow(ir.graph)
        indices = IndexValues(flow)
        taken: dict[fx.Node, fx.Node] = {}
        candidates: list[Candidate] = []
        refusals: list[Refusal] = []
        for anchor in ir.graph.nodes:
            if anchor in taken or not _is_anchor(flow, anchor):
                continue
            try:
                candidate = _widest(flow, indices, anchor, taken)
            except RefusedError as refused:
                is_attention = not isinstance(refused, NoProductError)
                refusals.append(Refusal(anchor.name, str(refused), is_attention))
                continue
            candidates.append(candidate)
            taken.update(dict.fromkeys(candidate.nodes, candidate.place))
        return Tokenization(tuple(candidates), tuple(refusals))


def _is_anchor(flow: ValueFlow, node: fx.Node) -> bool:
    """Whether a node is a softmax, an SDPA call, or the exp of a written-out softmax."""
    call = lookup(node)
    if call is None or call.op in ("softmax", "softmin", "sdpa"):
        return call is not None
    if call.op == "log_softmax":
        return "exp" in _ops(flow.consumers(node))
    if call.op not in ("exp", "exp2"):
        return False
    sources = flow.operands(node)
    less = [of for source in sources if _ops([source]) == ["sub"] for of in flow.operands(source)]
    return "sum" in _ops(flow.consumers(node)) or "logsumexp" in _ops(less)


def _ops(nodes: Iterable[fx.Node]) -> list[str]:
    calls = [lookup(node) for node in nodes]
    return [call.op for call in calls if call is not None]


def _widest(
    flow: ValueFlow, indices: IndexValues, anchor: fx.Node, taken: Mapping[fx.Node, fx.Node]
) -> Candidate:
    """The candidate with all value products; else with one, and the others read from outside.

    Row reductions of scores and probabilities belong to it unless it is refused with them.

    ``taken`` has the nodes of candidates found before, each with the place of its kernel.
    """
    products = value_products(flow, anchor)
    products = tuple(product for product in products if product not in taken) or products[:1]
    attempts = [products, *((product,) for product in products)] if products[1:] else [products]
    tried: list[Region] = []
    for attempt, rows in itertools.product(attempts, (True, False)):
        try:
            region = find_region(flow, anchor, attempt, rows)
            if region not in tried:
                tried.append(region)
                masks = MaskAbsorber(flow, indices, taken)
                return _candidate(flow, region, taken, anchor if products[1:] else None, masks)
        except RefusedError as refused:
            reason = refused
    raise reason


def _candidate(
    flow: ValueFlow,
    region: Region,
    taken: Mapping[fx.Node, fx.Node],
    anchor: fx.Node | None,
    masks: MaskAbsorber,
) -> Candidate:
    """The candidate of a region; the products must sum over the last dim of ``anchor`` if given.

    Masks that are functions of indices belong to it unless it is refused with them.
    """
    _check(flow, region, taken)
    try:
        return _translated(flow, region, taken, anchor, masks)
    except RefusedError:
        if not masks.nodes:
            raise
    return _translated(flow, region, taken, anchor, None)


def _translated(
    flow: ValueFlow,
    region: Region,
    taken: Mapping[fx.Node, fx.Node],
    anchor: fx.Node | None,
    masks: MaskAbsorber | None,
) -> Candidate:
    translator = Translator(flow, region.nodes, taken, masks)
    results, absorbed = _results(flow, region, translator)
    for product in region.products:
        if anchor is not None:
            _check_further(translator, product, anchor)
    extras, kept = extra_results(flow, region)
    results += [(translator.value(extra), extra) for extra in extras]
    writer, outputs = translator.writer, tuple(output for _, output in results)
    if masks is not None:
        masks.check(writer)
        absorbed |= masks.nodes
    subgraph = writer.finish(results, translator.heads)
    covered = (translator.covered | absorbed) - kept
    nodes = sorted(covered, key=lambda node: flow.index[node])
    tensors = tuple(node for node, _ in writer.ordered())
    scalars = [scalar for scalar in writer.scalars if isinstance(scalar, fx.Node)]
    place = check_order(flow, nodes, outputs, [*tensors, *scalars], taken)
    read = [*tensors, *(scalar for scalar in scalars if is_tensor(scalar))]
    if (changed := flow.mutation(read, nodes, place)) is not None:
        raise RefusedError(f"`{changed}` changes an operand in place before the result is read")
    numbers = materialize(writer.scalars, place)
    return Candidate(subgraph, tensors, numbers, outputs, tuple(nodes), place)


def _check_further(translator: Translator, product: fx.Node, anchor: fx.Node) -> None:
    """Of several products below a softmax each must be one with values."""
    if not translator.sums_last(product, anchor):
        raise RefusedError(f"`{product.name}` sums over another dim than `{anchor.name}`")
    width = tensor(product).shape[-1]
    if not isinstance(width, int) and same(width, tensor(anchor).shape[-1]):
        raise RefusedError(f"`{product.name}` is as wide as `{anchor.name}`; accepted: head dims")


def _results(
    flow: ValueFlow, region: Region, translator: Translator
) -> tuple[list[tuple[str, fx.Node]], set[fx.Node]]:
    """The value of each product with the node that it replaces, and the nodes absorbed below."""
    values = [(translator.value(product), product) for product in region.products]
    absorbed: set[fx.Node] = set()
    results: list[tuple[str, fx.Node]] = []
    for value, product in values:
        lowest, output, below = absorb_result(flow, translator.writer, product, value)
        results.append((lowest, output))
        absorbed |= below
    return results, absorbed


def _check(flow: ValueFlow, region: Region, taken: Mapping[fx.Node, fx.Node]) -> None:
    if shared := [node.name for node in region.nodes if node in taken]:
        raise RefusedError(f"`{shared[0]}` is part of the attention before it")
    # The score product too: a sum over no keys divides 0 by 0 behind the second one.
    for product in {*region.products, region.nodes[0]}:
        if any(isinstance(size, int) and size == 0 for size in tensor(product).shape):
            raise RefusedError(f"`{product.name}` is empty; accepted: sizes from 1")
    for node in region.nodes:
        if mutated(node) is not None and (why := flow.outlives(node, region.nodes)) is not None:
            raise RefusedError(f"`{node.name}` works in place and {why}; accepted: own results")
