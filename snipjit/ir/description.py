"""Description: a canonical Subgraph in a few words, for profilers and summaries.

``attention d64 causal gqa``, ``linear 768→3072 gelu``, ``normalization 768 sum``: its name, sizes
that are compiled in, and what stands around its products or reductions. Nothing depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import isclose, prod

from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.subgraph import Node, Subgraph

FUNCTIONS = {"erf": "gelu", "sigmoid": "sigmoid", "tanh": "tanh"}
"""What a function in a linear layer is told as."""
CUBIC = 0.044715
"""The constant by which a GELU that is made of a tanh is known."""
MOST = 3
"""How many functions of a chain are told."""


def describe(canonical: Subgraph) -> str:
    """What a Subgraph computes."""
    products, reductions = canonical.of("brgemm"), canonical.of("reduce")
    words: Iterable[str]
    if stream := _stream(products):
        words = _attention(canonical, products[0], stream)
    elif products:
        words = _linear(canonical, products)
    elif reductions:
        words = _normalization(canonical, reductions)
    else:
        words = _elementwise(canonical)
    return " ".join((canonical.name, *words))


def _stream(products: Sequence[Node]) -> set[str]:
    """Axes that one product makes and another one sums over."""
    made = {axis for node in products for axis in node.type.axes}
    return {axis for node in products for axis in node.attrs["over"] if axis in made}


def _attention(canonical: Subgraph, scores: Node, stream: set[str]) -> Iterator[str]:
    of_scores, over = set(scores.type.axes), scores.attrs["over"]
    yield f"d{_size(canonical, over)}"
    if compared := _comparisons_of_indices(canonical):
        yield "causal" if compared == 1 else "window"
    of_parameters = [set(node.type.axes) for node in canonical.parameters]
    if any(axes <= of_scores and axes & stream for axes in of_parameters):
        yield "mask"
    queries, keys = (set(canonical[name].type.axes) for name in scores.inputs)
    if len(queries - keys - {*over}) > 1:
        yield "gqa"


def _comparisons_of_indices(canonical: Subgraph) -> int:
    """How often indices of two axes are compared."""
    along: dict[str, frozenset[str]] = {}
    for node in canonical.nodes:
        own = {node.attrs["axis"]} if node.op == "iota" else set[str]()
        read = () if node.op in ("brgemm", "reduce") else node.inputs
        along[node.name] = frozenset(own.union(*(along[name] for name in read)))
    comparisons = [node for node in canonical.nodes if _kind(node) == "comparison"]
    return sum(len(along[node.name]) > 1 for node in comparisons)


def _kind(node: Node) -> str:
    row = ELEMENTWISE.get(node.op)
    return "" if row is None else row.kind


def _linear(canonical: Subgraph, products: Sequence[Node]) -> Iterator[str]:
    shapes = Counter(_shape(canonical, node) for node in products)
    for (features, columns), times in shapes.items():
        yield f"{features}→{f'{times}×' if times > 1 else ''}{columns}"
    constants = [node.attrs["value"] for node in canonical.of("constant")]
    for op in dict.fromkeys(node.op for node in canonical.nodes if node.op in FUNCTIONS):
        is_gelu = op == "tanh" and any(isclose(value, CUBIC, rel_tol=1e-3) for value in constants)
        is_silu = op == "sigmoid" and _scales_what_it_is_of(canonical)
        yield "gelu" if is_gelu else "silu" if is_silu else FUNCTIONS[op]
    zeros = {node.name for node in canonical.of("constant") if node.attrs["value"] == 0}
    if any(zeros.intersection(node.inputs) for node in canonical.of("maximum")):
        yield "relu"
    if _adds_a_tensor(canonical):
        yield "sum"


def _scales_what_it_is_of(canonical: Subgraph) -> bool:
    """Whether a sigmoid is multiplied by its own operand."""
    gates = {(node.name, *node.inputs) for node in canonical.of("sigmoid")}
    products = [{*node.inputs} for node in canonical.of("mul")]
    return any({*gate} == factors for gate in gates for factors in products)


def _shape(canonical: Subgraph, product: Node) -> tuple[str, str]:
    """Sizes of the features and of the columns of a product with a weight."""
    over = set(product.attrs["over"])
    a, b = ([*canonical[name].type.axes] for name in product.inputs)
    sides = [[axis for axis in b if axis not in a], [axis for axis in a if axis not in b]]
    known = [side for side in sides if side and all(canonical.axes[axis] for axis in side)]
    columns = [axis for axis in (known or sides)[0] if axis not in over]
    return _size(canonical, product.attrs["over"]), _size(canonical, columns)


def _adds_a_tensor(canonical: Subgraph) -> bool:
    """Whether something of the size of a result is added from outside."""
    wide = {node.name for node in canonical.parameters if _is_whole(canonical, node)}
    for node in canonical.of("to_f32"):
        if wide.intersection(node.inputs):
            wide.add(node.name)
    return any(wide.intersection(node.inputs) for node in canonical.of("add"))


def _is_whole(canonical: Subgraph, parameter: Node) -> bool:
    axes = set(parameter.type.axes)
    return any(set(result.type.axes) <= axes for result in canonical.results)


def _normalization(canonical: Subgraph, reductions: Sequence[Node]) -> Iterator[str]:
    yield _size(canonical, reductions[0].attrs["over"])
    if canonical.of("gather"):
        yield "embedding"
    elif _adds_a_tensor(canonical):
        yield "sum"


def _elementwise(canonical: Subgraph) -> Iterable[str]:
    kinds = ("arithmetic", "function", "exponential", "choice")
    found = dict.fromkeys(node.op for node in canonical.nodes if _kind(node) in kinds)
    return [*found][:MOST]


def _size(canonical: Subgraph, axes: Iterable[str]) -> str:
    """The product of sizes; a question mark where a call decides one."""
    sizes = [canonical.axes[axis] for axis in axes]
    return str(prod(size or 1 for size in sizes)) if all(sizes) else "?"
