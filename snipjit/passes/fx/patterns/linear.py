"""Linear layers: products with a weight, and the elementwise chains below them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from torch import fx

from snipjit.passes.fx.graph.convex import are_made_of
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.convolutions import has_one_tap
from snipjit.passes.fx.lift.dequantize import quantized_of
from snipjit.passes.fx.lift.expand_elementwise import is_elementwise
from snipjit.passes.fx.lift.layouts import LAYOUTS
from snipjit.passes.fx.lift.products import PRODUCTS
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.op_row import spelled_by
from snipjit.passes.fx.nodes.refused import ExpectedError, RefusedError
from snipjit.passes.fx.nodes.traced import (
    FLOATS,
    QUANTIZED,
    Size,
    is_state,
    is_tensor,
    literal,
    same,
    tensor,
)
from snipjit.passes.fx.patterns.pattern import IDLE, Pattern, Region, ends_of

SIDES = {
    "linear": ("input", "weight"),
    "convolution": ("input", "weight"),
    "addmm": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"),
    "tensordot": ("a", "b"),
}
"""The factors of a product by their names; ``input`` and ``other`` of those that are not here."""

PARTS = frozenset(
    spelling
    for name in ("unbind", "chunk", "split", "split_with_sizes", "tensor_split")
    for spelling in spelled_by(name)
)
"""What gives parts of a tensor, which are still its memory."""

ACCEPTED = ", ".join(map(str, FLOATS))
GROUPED = frozenset((*spelled_by("grouped_mm"), *spelled_by("_grouped_mm")))
"""Products of rows with those weights that data choose."""


class Linear(Pattern):
    """A product with a matrix of the model's own, and what is computed of each of its elements.

    Before:  %l = linear(%x, %w, %b); %g = gelu(%l); %r = add(%g, %h)
    After:   %a, %b, %c, %d = parameter …
             %0 = transpose %b; %1 = matmul %a %0; %2 = add %1 %c; … ; %8 = add %7 %d; result %8

    Layers of one input that are as wide are taken together, where the chains below them meet (a
    gate) and where they do not (queries, keys and values); else each alone. Other tensors are read
    as they are: most are sums of layers above, and what hides an element saves nothing here.
    """

    name = "linear"
    has_masks = False

    def is_anchor(self, flow: ValueFlow, node: fx.Node) -> bool:
        """Whether a node multiplies by a weight, or by several that data choose."""
        is_product = weight_of(flow, node) is not None and not is_convolution(node)
        return is_product or node.target in GROUPED

    def regions(
        self, flow: ValueFlow, anchor: fx.Node, taken: Collection[fx.Node]
    ) -> Sequence[Region]:
        """With all layers of the input, with those that the chain meets, alone; with and without
        the chain."""
        if anchor.target in GROUPED:
            raise RefusedError(
                f"`{anchor.name}` ({spelled(anchor)}) multiplies groups of rows whose sizes are "
                "data; accepted: groups of one size, as in bmm"
            )
        if (dtype := tensor(anchor).dtype) not in FLOATS:
            raise ExpectedError(f"`{anchor.name}` is {dtype}; accepted: {ACCEPTED}")
        layers = _layers(flow, anchor, taken)
        widest = _chain(flow, layers, taken)
        joined = _joined(flow, anchor, layers, widest)
        chains = (widest, *(_chain(flow, some, taken) for some in (joined, (anchor,))), {anchor})
        return tuple(dict.fromkeys(Region.of(flow, nodes) for nodes in chains))

    def check_feature(self, node: fx.Node, size: Size) -> None:
        """Weights are compiled in by their sizes."""
        if not literal(size):
            raise RefusedError(
                f"`{node.name}` has {size} features; accepted: a number that is known and not 0"
            )

    def is_fixed(self, flow: ValueFlow, node: fx.Node) -> bool:
        """Whether a factor is a weight."""
        return is_weight(flow, node)


class Convolution(Linear):
    """A convolution of one tap, which is a linear layer of every pixel.

    It is taken on request alone: oneDNN does it faster, above all where channels lie last.
    """

    name = "convolution"

    def is_anchor(self, flow: ValueFlow, node: fx.Node) -> bool:
        """Whether a node is such a convolution by a weight."""
        return is_convolution(node) and weight_of(flow, node) is not None


def is_convolution(node: fx.Node) -> bool:
    """Whether a node is a convolution of any kind."""
    call = lookup(node)
    return call is not None and call.op == "convolution"


def weight_of(flow: ValueFlow, node: fx.Node) -> fx.Node | None:
    """The weight by which a node multiplies something else; None if there is none."""
    call = lookup(node)
    if call is None or call.op not in PRODUCTS or not is_tensor(node):
        return None
    if call.op == "convolution" and not has_one_tap(call):
        return None
    factors = [flow.read(node, factor) for factor in _factors(call)]
    if len(factors) != 2:
        return None
    weights = [factor for factor in factors if is_weight(flow, factor)]
    if len(weights) == 2:  # one of the model's, and an input that has known sizes
        weights = [factor for factor in weights if is_state(_given(factor))] or weights
    return weights[-1] if weights else None


def _factors(call: Call) -> list[fx.Node]:
    """Both factors of a product."""
    if call.op == "einsum":
        given = call.get("operands")
        found = list(given) if isinstance(given, list | tuple) else [given, *call.rest]
    else:
        found = [call.get(side) for side in SIDES.get(call.op, ("input", "other"))]
    return [factor for factor in found if is_tensor(factor)]


def is_weight(flow: ValueFlow, node: fx.Node) -> bool:
    """Whether a value is a matrix of known sizes that the graph is given, laid out in any way, or
    several of the module's own."""
    shape, given = tensor(node).shape, _given(node)
    if len(shape) < 2 or not all(isinstance(size, int) for size in shape):
        return False
    if (
        tensor(given).dtype not in QUANTIZED
        and (quantized := quantized_of(flow, given)) is not None
    ):
        given = quantized
    return is_state(given) or (len(shape) == 2 and given.op == "placeholder")


def _given(node: fx.Node) -> fx.Node:
    """What layout ops lay out, and parts are of."""
    while (source := _source(node)) is not None:
        node = source
    return node


def _source(node: fx.Node) -> fx.Node | None:
    call = lookup(node)
    if call is not None and call.op in LAYOUTS:
        source = call.get("input")
    else:
        source = node.args[0] if node.target in PARTS and node.args else None
    is_list = isinstance(source, fx.Node) and source.target in PARTS
    return source if is_list or is_tensor(source) else None


def _input_of(flow: ValueFlow, node: fx.Node) -> fx.Node:
    """What a linear layer multiplies by its weight."""
    call = lookup(node)
    assert call is not None
    left, right = (flow.read(node, factor) for factor in _factors(call))
    return right if left is weight_of(flow, node) else left


def _layers(flow: ValueFlow, anchor: fx.Node, taken: Collection[fx.Node]) -> tuple[fx.Node, ...]:
    """The linear layers of the same input that are as wide, in graph order."""
    source, shape = _input_of(flow, anchor), tensor(anchor).shape
    found = {anchor}
    for reader in flow.consumers(source):
        if reader in taken or weight_of(flow, reader) is None:
            continue
        own = tensor(reader).shape
        if (
            _input_of(flow, reader) is source
            and len(own) == len(shape)
            and all(map(same, own, shape))
        ):
            found.add(reader)
    return tuple(sorted(found, key=flow.index.__getitem__))


def _joined(
    flow: ValueFlow, anchor: fx.Node, layers: tuple[fx.Node, ...], nodes: Collection[fx.Node]
) -> tuple[fx.Node, ...]:
    """Those layers whose chains, among ``nodes``, end where that of the anchor ends."""
    ends = ends_of(flow, nodes)
    reached = {layer: ends & _below(flow, layer, nodes) for layer in layers}
    return tuple(layer for layer in layers if reached[layer] & reached[anchor])


def _below(flow: ValueFlow, first: fx.Node, inside: Collection[fx.Node]) -> set[fx.Node]:
    """A node and what is made of it among others."""
    found, pending = {first}, [first]
    while pending:
        new = [of for of in flow.consumers(pending.pop()) if of in inside and of not in found]
        found.update(new)
        pending += new
    return found


def _chain(
    flow: ValueFlow, products: Iterable[fx.Node], taken: Collection[fx.Node]
) -> set[fx.Node]:
    """Products and the elementwise functions below them, up to values that anything else reads.

    Only what reads the nodes is looked at, and whether its other operands are made of them: layers
    are equal as far as anyone has looked.
    """
    nodes = {*products}
    shape = tensor(next(iter(nodes))).shape
    readers = {of for node in nodes for of in flow.consumers(node)}
    while readers:
        reader = min(readers, key=flow.index.__getitem__)  # what it reads is in, or never will be
        readers.remove(reader)
        if reader in nodes or reader in taken or not _is_pointwise(reader, shape):
            continue
        if not are_made_of(flow, flow.operands(reader), nodes):
            nodes.add(reader)
            readers.update(flow.consumers(reader))
    while (end := _read_outside(flow, nodes)) is not None:
        nodes -= _below(flow, end, nodes) - {end}
    return nodes


def _is_pointwise(node: fx.Node, shape: Sequence[Size]) -> bool:
    """Whether a node makes of each element of its operands one of a result of that shape."""
    call = lookup(node)
    if call is None or not (is_elementwise(call.op) or call.op in IDLE) or not is_tensor(node):
        return False
    own = tensor(node).shape
    return len(own) == len(shape) and all(map(same, own, shape)) and mutated(node) is None


def _read_outside(flow: ValueFlow, nodes: Collection[fx.Node]) -> fx.Node | None:
    """A value that is read by some of the nodes and by others, or None."""
    for node in nodes:
        inside = [reader in nodes for reader in flow.consumers(node)]
        if any(inside) and not all(inside):
            return node
    return None
