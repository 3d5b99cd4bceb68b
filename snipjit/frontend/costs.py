"""Costs: how many operations a part of a graph takes, and how many bytes it reads and writes.

Estimates at the sizes that were traced, for the shares in a report: products by torch's own count,
one operation an element of everything else, each tensor read and written once, views for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from snipjit.passes.fx import Candidate
from snipjit.passes.fx.graph.launch_levels import is_random, name_of
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.traced import storage, traced_value
from snipjit.torch_private import pytree, traced_number

PRODUCTS = frozenset("matmul linear addmm baddbmm inner tensordot einsum convolution sdpa".split())
"""What torch counts: rows of the op table."""
READ_BY_INDEX = frozenset("embedding index_select gather index take_along_dim".split())
"""What reads of a tensor as much as it gives."""


@dataclass(frozen=True)
class Cost:
    """Operations and bytes."""

    flops: float = 0
    bytes: float = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)

    @staticmethod
    def total(costs: Iterable[Cost]) -> Cost:
        """The sum of costs."""
        return sum(costs, Cost())


class Costs:
    """The costs of a graph's nodes and candidates."""

    def __init__(self) -> None:
        self._known: dict[fx.Node, float] = {}

    def of_node(self, node: fx.Node) -> Cost:
        """Of one that PyTorch runs."""
        if _is_free(node):
            return Cost()
        read = sum(_read(node, source) for source in node.all_input_nodes)
        return Cost(self._flops(node), read + _written(node))

    def of_candidate(self, candidate: Candidate) -> Cost:
        """Of a kernel: between its operations it touches no memory."""
        inside = set(candidate.nodes)
        flops = sum(self._flops(node) for node in candidate.nodes if not _is_free(node))
        read = sum(
            max((_read(user, source) for user in source.users if user in inside), default=0)
            for source in dict.fromkeys(candidate.tensors)
        )
        return Cost(flops, read + sum(map(_written, candidate.outputs)))

    def _flops(self, node: fx.Node) -> float:
        if node not in self._known:
            call = lookup(node)
            is_product = call is not None and call.op in PRODUCTS
            self._known[node] = _counted(node) if is_product else _elements(node)
        return self._known[node]


def left_to_pytorch(graph: fx.Graph, candidates: Iterable[Candidate]) -> list[fx.Node]:
    """The operations on tensors that run where kernels take the candidates' place, in order."""
    kernels = {node: candidate for candidate in candidates for node in candidate.outputs}
    needed: set[fx.Node] = set()
    pending = [node for node in graph.nodes if node.op == "output" or mutated(node) is not None]
    for node in pending:
        if node not in needed:
            needed.add(node)
            kernel = kernels.get(node)
            pending += node.all_input_nodes if kernel is None else _operands(kernel)
    calls = ("call_function", "call_method", "call_module")
    found = [n for n in graph.nodes if n in needed and n not in kernels and n.op in calls]
    return [node for node in found if not _is_free(node)]


def _operands(candidate: Candidate) -> Iterator[fx.Node]:
    yield from candidate.tensors
    for scalar in candidate.scalars:
        if isinstance(scalar, fx.Node):
            yield scalar


def _is_free(node: fx.Node) -> bool:
    """Whether a node makes no tensor: it gives a view of one, a part of several, or a number."""
    made, call = traced_value(node), lookup(node)
    if call is not None and call.op == "dropout" and not is_random(call):
        return True
    if not pytree.tree_any(lambda leaf: isinstance(leaf, torch.Tensor), made):
        return True
    sources = node.all_input_nodes
    if any(isinstance(traced_value(source), tuple | list) for source in sources):
        return name_of(node) == "getitem"
    own = storage(node)
    return own is not None and mutated(node) is None and own in map(storage, sources)


def _elements(node: fx.Node) -> int:
    return sum(prod(_sizes(tensor.shape)) for tensor in _tensors(node))


def _written(node: fx.Node) -> int:
    return sum(_bytes(tensor) for tensor in _tensors(node))


def _read(node: fx.Node, source: fx.Node) -> int:
    """Bytes that a node reads of another one."""
    whole = _written(source)
    return min(whole, _written(node)) if name_of(node) in READ_BY_INDEX else whole


def _tensors(node: fx.Node) -> list[torch.Tensor]:
    leaves = pytree.tree_leaves(traced_value(node))
    tensors = (leaf for leaf in leaves if isinstance(leaf, torch.Tensor))
    return [tensor for tensor in tensors if tensor.layout is torch.strided]


def _bytes(tensor: torch.Tensor) -> int:
    """Of the memory behind a tensor: what is expanded is there once."""
    pairs = zip(_sizes(tensor.shape), _sizes(tensor.stride()), strict=True)
    return prod(size for size, stride in pairs if stride) * tensor.itemsize


def _sizes(sizes: Iterable[int | torch.SymInt]) -> list[int]:
    """Sizes as they were traced; 1 where nothing was known of one."""
    return [_number(size) for size in sizes]


def _number(value: Any) -> Any:
    if not isinstance(value, torch.SymInt | torch.SymFloat):
        return value
    known = traced_number(value)
    return 1 if known is None else known


def _counted(node: fx.Node) -> float:
    """A call's operations as torch counts them; as many as it has elements where torch refuses the
    sizes that take the place of unknown ones."""
    try:
        with FlopCounterMode(display=False) as counter:
            _called_without_memory(node)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return float(_elements(node))
    return float(counter.get_total_flops())


def _called_without_memory(node: fx.Node) -> Any:
    def plain(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return _number(value)
        return torch.empty(_sizes(value.shape), dtype=value.dtype, device="meta")

    args, kwargs = fx.node.map_arg((node.args, node.kwargs), traced_value)
    args, kwargs = pytree.tree_map(plain, (args, kwargs))
    target: Any = node.target
    if node.op == "call_method":
        return getattr(args[0], target)(*args[1:], **kwargs)
    return target(*args, **kwargs)
