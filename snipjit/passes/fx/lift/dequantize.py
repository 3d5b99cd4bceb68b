"""Takes in how a weight follows from integers of 8 bits: casts, zeros, scales, and layout ops.

What is accepted is told by the operations alone, whoever wrote them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.expand_elementwise import expand_elementwise, is_elementwise
from snipjit.passes.fx.lift.layouts import LAYOUTS, apply_layout
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    BYTES,
    FLOATS,
    element_type,
    is_integer,
    is_number,
    is_tensor,
    tensor,
)

STEPS = ("mul", "div", "sub", "add")
"""What may be done with a weight, and a scale or a zero."""

ACCEPTED = (
    "accepted: integers of 8 bits, converted, less zeros, times scales, of a tensor, of a channel, "
    "or of groups in memory as [channels][groups]"
)


def integers_of(flow: ValueFlow, node: fx.Node) -> fx.Node | None:
    """The 8-bit tensor that a value is made of, element by element or by operations on integers.

    None where there is none that the graph is given.
    """
    seen: set[fx.Node] = set()
    pending = [node]
    while pending:
        here = pending.pop()
        if here in seen or not is_tensor(here) or not _has_known_sizes(here):
            continue
        seen.add(here)
        if here.op in ("placeholder", "get_attr"):
            if tensor(here).dtype in BYTES and is_integer(here) and tensor(here).dim() > 1:
                return here
        elif _may_be_made_so(here):
            pending += reversed(flow.operands(here))
    return None


def _may_be_made_so(node: fx.Node) -> bool:
    call = lookup(node)
    known = call is not None and (call.op in LAYOUTS or is_elementwise(call.op))
    return known or is_integer(node)


def _has_known_sizes(node: fx.Node) -> bool:
    return all(isinstance(size, int) for size in tensor(node).shape)


@dataclass
class Dequantizer:
    """Lifts one weight.

    Before:  %c = to(%w, float32); %d = sub(%c, %z); %m = mul(%d, %s)      with %w of int8
    After:   %a = parameter : i8[a0][a1]; %b = parameter : f32[b0][]; %c = parameter : f32[c0][]
             %0 = to_f32 %a; %1 = sub %0 %b; %2 = mul %1 %c
    """

    flow: ValueFlow
    writer: SubgraphWriter
    taken: Collection[fx.Node]
    parameters: list[str] = field(default_factory=list)
    absorbed: set[fx.Node] = field(default_factory=set)

    def lift(self, node: fx.Node) -> str:
        """The value of a weight in f32, or rounded as the model rounds it.

        Raises RefusedError where it is made in another way.
        """
        return self.writer.to(self._weight(node), element_type(node))

    def _weight(self, node: fx.Node) -> str:
        if node.op in ("placeholder", "get_attr"):
            return self._parameter(node)
        if node in self.taken or self.flow.is_mutated(node):
            raise RefusedError(f"`{node.name}`, which a weight is made of, is changed; {ACCEPTED}")
        self.absorbed.add(node)
        call = lookup(node)
        if call is not None and call.op in LAYOUTS:
            (source,) = self.flow.operands(node)[:1]
            return self._laid_out(node, call, self._weight(source))
        if call is None or call.op not in STEPS:
            raise RefusedError(f"`{node.name}` ({spelled(node)}) makes a weight; {ACCEPTED}")
        if tensor(node).dtype in BYTES:
            raise RefusedError(f"`{node.name}` may be too large for 8 bits; {ACCEPTED}")
        return self._step(node, call)

    def _step(self, node: fx.Node, call: Call) -> str:
        """A zero or a scale applied; the weight is the operand that has all elements."""
        weight = next((one for one in self.flow.operands(node) if self._is_weight(one, node)), None)
        if weight is None:
            raise RefusedError(f"`{node.name}` makes more elements than a weight has; {ACCEPTED}")

        def operand(argument: object) -> str:
            if isinstance(argument, fx.Node):
                argument = self.flow.read(node, argument)
            if argument is weight:
                return self._weight(weight)
            if is_number(argument):
                return self.writer.scalar(argument)  # type: ignore[arg-type]
            if not isinstance(argument, fx.Node):
                raise RefusedError(f"`{node.name}` takes {argument!r}; {ACCEPTED}")
            return self._side(argument)

        value = expand_elementwise(call, self.writer, operand)
        return self._converted(node, value)

    def _is_weight(self, operand: fx.Node, node: fx.Node) -> bool:
        whole = is_tensor(operand) and tensor(operand).numel() == tensor(node).numel()
        return whole and integers_of(self.flow, operand) is not None

    def _laid_out(self, node: fx.Node, call: Call, value: str) -> str:
        if call.op == "cast":
            return self._converted(node, value)
        return apply_layout(node, call, self.writer, value)

    def _converted(self, node: fx.Node, value: str) -> str:
        """A value in the node's type, if that is a float; larger integers stay as they are."""
        dtype, before = tensor(node).dtype, self.writer.types[value]
        if dtype in FLOATS:
            return self.writer.to(value, element_type(node))
        if not is_integer(node) or (dtype in BYTES and before.dtype != BYTES[dtype]):
            raise RefusedError(f"`{node.name}`, which a weight is made of, is {dtype}; {ACCEPTED}")
        return value

    def _side(self, node: fx.Node) -> str:
        """The value of a scale or a zero, with the layout ops above it."""
        call = lookup(node)
        takes = call is not None and call.op in LAYOUTS and node not in self.taken
        if takes and not self.flow.is_mutated(node) and _has_known_sizes(node):
            assert call is not None
            (source,) = self.flow.operands(node)[:1]
            value = self._side(source)
            self.absorbed.add(node)
            if call.op == "cast" and tensor(node).dtype not in FLOATS:
                return value
            return self._laid_out(node, call, value)
        if not _has_known_sizes(node):
            raise RefusedError(f"`{node.name}` has sizes that are not known; {ACCEPTED}")
        return self._parameter(node)

    def _parameter(self, node: fx.Node) -> str:
        """A parameter; dims of size 1 are so at each call."""
        found = tensor(node).dtype
        if found in FLOATS:
            dtype = element_type(node)
        elif is_integer(node) or found == torch.float64:
            dtype = BYTES.get(found, "f32")
        else:
            raise RefusedError(f"`{node.name}` is {found}; {ACCEPTED}")
        name = self.writer.parameter(node, dtype, fixed=True)
        self.parameters.append(name)
        return name
