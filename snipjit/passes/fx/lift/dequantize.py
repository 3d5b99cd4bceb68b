"""Takes in how a weight follows from 8 bits in memory: casts, zeros, scales, and layout ops.

They are integers, or floats of 8 bits, which only casts read.

What is accepted is told by the operations alone, whoever wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import fx

from snipjit.ir.dequantized import STEPS
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.dequantize_calls import (
    DequantizeCall,
    dequantize,
    dequantize_call,
)
from snipjit.passes.fx.lift.expand_elementwise import expand_elementwise, is_elementwise
from snipjit.passes.fx.lift.layouts import LAYOUTS, apply_layout
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    BYTES,
    FLOATS,
    FLOATS8,
    QUANTIZED,
    converted_type,
    element_type,
    is_integer,
    is_number,
    is_strided,
    is_tensor,
    tensor,
)

WIDE = (torch.int32, torch.int64)
"""Integers in which a zero may be subtracted."""

WRAPS = "may be too small for what it makes"

ACCEPTED = (
    "accepted: integers or floats of 8 bits, converted, less zeros, times scales, of a tensor, of "
    "a channel, or of groups in memory as [channels][groups]"
)


def quantized_of(flow: ValueFlow, node: fx.Node) -> fx.Node | None:
    """The 8-bit tensor that a value is made of, element by element or by operations on integers.

    None where there is none that the graph is given.
    """
    return next((made for made in _made_of(flow, node) if _is_quantized(made)), None)


def has_groups(flow: ValueFlow, node: fx.Node) -> bool:
    """Whether a value is made of 8-bit numbers, of which groups of columns have scales or zeros."""
    if (quantized := quantized_of(flow, node)) is None:
        return False
    rank = tensor(quantized).dim()
    return any(tensor(made).dim() > rank or _repeats(made) for made in _made_of(flow, node))


def _repeats(node: fx.Node) -> bool:
    call, named = lookup(node), dequantize_call(node)
    by_groups = named is not None and named.group is not None
    return by_groups or (call is not None and call.op == "repeat_interleave")


def _is_quantized(node: fx.Node) -> bool:
    given = node.op in ("placeholder", "get_attr") and tensor(node).dtype in QUANTIZED
    return given and is_strided(tensor(node)) and tensor(node).dim() > 1


def _made_of(flow: ValueFlow, node: fx.Node) -> Iterator[fx.Node]:
    """What a value of known sizes is made of, and itself, operands in their order."""
    seen: set[fx.Node] = set()
    pending = [node]
    while pending:
        here = pending.pop()
        if here in seen or not is_tensor(here) or not _has_known_sizes(here):
            continue
        seen.add(here)
        yield here
        if here.op not in ("placeholder", "get_attr") and _may_be_made_so(here):
            pending += reversed(flow.operands(here))


def _may_be_made_so(node: fx.Node) -> bool:
    call = lookup(node)
    known = call is not None and (call.op in LAYOUTS or is_elementwise(call.op))
    return known or is_integer(node) or dequantize_call(node) is not None


def _has_known_sizes(node: fx.Node) -> bool:
    return all(isinstance(size, int) for size in tensor(node).shape)


def _check_wide(node: fx.Node, made: fx.Node, integers: tuple[torch.dtype, ...]) -> None:
    """Raise RefusedError where a node computes in a type that is no float and none of these."""
    if (dtype := tensor(made).dtype) not in (*FLOATS, *integers):
        raise RefusedError(f"`{node.name}` is of {dtype}, which {WRAPS}; {ACCEPTED}")


@dataclass
class Dequantizer:
    """Lifts one weight.

    Before:  %c = to(%w, float32); %d = sub(%c, %z); %m = mul(%d, %s)      with %w of int8
    After:   %a = parameter : i8[a0][a1]; %b = parameter : f32[b0][]; %c = parameter : f32[c0][]
             %0 = to_f32 %a; %1 = sub %0 %b; %2 = mul %1 %c
    """

    flow: ValueFlow
    writer: SubgraphWriter
    weight: fx.Node
    parameters: list[str] = field(default_factory=list)
    absorbed: set[fx.Node] = field(default_factory=set)

    def lift(self) -> str:
        """The value of the weight in f32, or rounded as the model rounds it.

        Raises RefusedError where it is made in another way.
        """
        return self.writer.to(self._weight(self.weight), element_type(self.weight))

    def _weight(self, node: fx.Node) -> str:
        if node.op in ("placeholder", "get_attr"):
            return self._parameter(node)
        if self.flow.is_mutated(node):
            raise RefusedError(f"`{node.name}`, which a weight is made of, is changed; {ACCEPTED}")
        self.absorbed.add(node)
        if (named := dequantize_call(node)) is not None:
            return self._converted(node, self._called(node, named))
        call = lookup(node)
        if call is not None and call.op in LAYOUTS:
            return self._weight_laid_out(node, call)
        if call is None or call.op not in STEPS:
            raise RefusedError(f"`{node.name}` ({spelled(node)}) makes a weight; {ACCEPTED}")
        _check_wide(node, node, WIDE if call.op in ("sub", "add") else ())
        return self._step(node, call)

    def _weight_laid_out(self, node: fx.Node, call: Call) -> str:
        """A weight in another layout; of integers it may be a part, which kernels do not know."""
        (source,) = self.flow.operands(node)[:1]
        count = len(self.parameters)
        try:
            return self._laid_out(node, call, self._weight(source))
        except RefusedError:
            if tensor(node).dtype not in QUANTIZED or not _is_quantized(source):
                raise
        del self.parameters[count:]
        self.absorbed.discard(node)
        return self._parameter(node)

    def _step(self, node: fx.Node, call: Call) -> str:
        """A zero or a scale applied; the weight is the operand that has all elements."""
        weight = next((one for one in self.flow.operands(node) if self._is_weight(one, node)), None)
        if weight is None:
            raise RefusedError(f"`{node.name}` makes more elements than a weight has; {ACCEPTED}")
        first = call.get("input")
        if call.op in ("sub", "div") and not (
            isinstance(first, fx.Node) and self.flow.read(node, first) is weight
        ):
            raise RefusedError(f"`{node.name}` is of a weight as its second operand; {ACCEPTED}")

        def operand(argument: Any) -> str:
            is_it = isinstance(argument, fx.Node) and self.flow.read(node, argument) is weight
            return self._weight(weight) if is_it else self._operand(node, argument)

        return self._converted(node, expand_elementwise(call, self.writer, operand))

    def _called(self, node: fx.Node, call: DequantizeCall) -> str:
        """What a call that dequantizes gives."""
        weight = self.flow.read(node, call.weight)
        if is_tensor(call.zero):
            _check_wide(node, call.zero, WIDE)
        operand = partial(self._operand, node)
        return dequantize(call, self.writer, self._weight(weight), operand)

    def _operand(self, node: fx.Node, argument: Any) -> str:
        """A scale or a zero: a number, or a tensor."""
        if isinstance(argument, fx.Node):
            argument = self.flow.read(node, argument)
        if is_number(argument):
            return self.writer.scalar(argument)
        if not isinstance(argument, fx.Node):
            raise RefusedError(f"`{node.name}` takes {argument!r}; {ACCEPTED}")
        return self._side(argument)

    def _is_weight(self, operand: fx.Node, node: fx.Node) -> bool:
        whole = is_tensor(operand) and tensor(operand).numel() == tensor(node).numel()
        return whole and quantized_of(self.flow, operand) is not None

    def _laid_out(self, node: fx.Node, call: Call, value: str) -> str:
        if call.op == "cast":
            (source,) = self.flow.operands(node)[:1]
            if is_integer(node) and tensor(source).dtype not in (tensor(node).dtype, *BYTES):
                raise RefusedError(f"`{node.name}` cuts off what a number has more; {ACCEPTED}")
            return self._converted(node, value)
        return apply_layout(node, call, self.writer, value)

    def _converted(self, node: fx.Node, value: str) -> str:
        """A value in the node's type, if that is a float; larger integers stay as they are."""
        dtype, before = tensor(node).dtype, self.writer.types[value]
        if dtype in FLOATS:
            return self.writer.to(value, element_type(node))
        if dtype in QUANTIZED:
            known = before.dtype == QUANTIZED[dtype]
        else:
            known = is_integer(node)
        if not known:
            raise RefusedError(f"`{node.name}`, which a weight is made of, is {dtype}; {ACCEPTED}")
        return value

    def _side(self, node: fx.Node) -> str:
        """The value of a scale or a zero, with the layout ops above it that kernels know."""
        if not is_tensor(node) or not _has_known_sizes(node):
            raise RefusedError(f"`{node.name}` has sizes that are not known; {ACCEPTED}")
        call = lookup(node)
        if call is None or call.op not in LAYOUTS or self.flow.is_mutated(node):
            return self._parameter(node)
        (source,) = self.flow.operands(node)[:1]
        count = len(self.parameters)
        try:
            value = self._laid_out(node, call, self._side(source))
        except RefusedError:
            del self.parameters[count:]
            return self._parameter(node)
        self.absorbed.add(node)
        return value

    def _parameter(self, node: fx.Node) -> str:
        """A parameter; dims of size 1 are so at each call."""
        found = tensor(node).dtype
        weights = quantized_of(self.flow, self.weight)
        if node is not weights and weights and tensor(node).numel() >= tensor(weights).numel():
            raise RefusedError(f"`{node.name}` has a number for each weight; {ACCEPTED}")
        if found in (*FLOATS, *FLOATS8):
            dtype = converted_type(node)
        elif is_integer(node) or found == torch.float64:
            dtype = BYTES.get(found, "f32")
        else:
            raise RefusedError(f"`{node.name}` is {found}; {ACCEPTED}")
        name = self.writer.parameter(node, dtype, fixed=True)
        self.parameters.append(name)
        return name
