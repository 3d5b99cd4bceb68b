"""Which tensors of a graph are numbers and indices: ``arange`` and what is made of it.

Masks are built from ranges. ``torch.arange(a, b)[:, None] + 3`` holds, at ``[i, j]``, the number
``i + a + 3``: nobody needs the tensor to know that.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import fx

from snipjit.passes.fx.graph.value_flow import Looked, ValueFlow
from snipjit.passes.fx.index.index_rules import RULES
from snipjit.passes.fx.index.indices import ELEMENTS, WHOLE, Indices, padded
from snipjit.passes.fx.nodes.calls import lookup
from snipjit.passes.fx.nodes.in_place import mutated
from snipjit.passes.fx.nodes.traced import is_one, is_tensor, tensor, value
from snipjit.torch_private import as_int, expression


class IndexValues:
    """What is known of the nodes of one graph, each looked at once."""

    def __init__(self, flow: ValueFlow) -> None:
        self.flow = flow
        self._known: dict[fx.Node, Indices | None] = {}
        self._looked: dict[fx.Node, Looked] = {}

    def of(self, node: fx.Node) -> Indices | None:
        """The indices or the constant that a tensor or number is, None if it is anything else."""
        if node not in self._known:
            before, self.flow.looked = self.flow.looked, Looked()
            self._known[node] = None
            self._known[node] = self._of(node)
            self._looked[node], self.flow.looked = self.flow.looked, before
        self.flow.looked.add(self._looked.get(node, Looked()))
        return self._known[node]

    def _of(self, node: fx.Node) -> Indices | None:
        if not is_tensor(node):
            return _number(node)
        found = tensor(node)
        changed = mutated(node) is not None or self.flow.is_mutated(node)
        if changed or found.device.type != "cpu" or found.dtype not in ELEMENTS:
            return None
        known = self._computed(node)
        if known is None:
            symbol = found.dim() == 0 and found.dtype in WHOLE
            return Indices((), 0, {node: (node, 1)}) if symbol else None
        ones = [is_one(size) for size in found.shape]
        factors = (0 if one else f for f, one in zip(known.factors, ones, strict=True))
        return replace(known, factors=tuple(factors))

    def _computed(self, node: fx.Node) -> Indices | None:
        call = lookup(node)
        if call is None or call.op not in RULES:
            return None
        found = RULES[call.op](node, call, partial(self.argument, node))
        return replace(found, factors=padded(found.factors, tensor(node).dim())) if found else None

    def argument(self, node: fx.Node, argument: Any) -> Indices | None:
        """An operand of a node: a node, or a literal number."""
        if isinstance(argument, fx.Node):
            return self.of(self.flow.read(node, argument))
        return Indices((), argument) if isinstance(argument, int | float) else None


def _number(node: fx.Node) -> Indices | None:
    found = value(node)
    if isinstance(found, torch.SymInt):
        known = as_int(found)
        symbol = {("size", expression(found)): (node, 1)}
        return Indices((), known) if known is not None else Indices((), 0, symbol)
    return Indices((), found) if isinstance(found, int | float) else None
