"""Takes in the layout ops above an operand of a product, and its scaling by numbers.

A Parameter may have any strides and any product of axes in a dim, so transposes, head splits and
``repeat_kv`` cost nothing inside a kernel and a copy or a call outside.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.expand_elementwise import expand_elementwise, is_elementwise
from snipjit.passes.fx.lift.layouts import LAYOUTS, apply_layout
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import Call, lookup
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    CONVERTED,
    HALVES,
    converted_type,
    element_type,
    is_number,
    is_tensor,
    tensor,
)


class OperandLifter:
    """Lifts operands of products from the highest tensor that can be their Parameter.

    Before:  %l = linear(…); %w = l.view(b, s, 4, 16); %t = w.transpose(1, 2)
    After:   %a = parameter : f32[a0][a1][a2_0 a2_1];  %0 = view %a;  %1 = transpose %0

    The chain is cut where a view regroups elements, where a dim would hold two unknown sizes at run
    time, where a dim would have two axes along which a kernel goes in blocks, below an expand of
    what no other operand is aligned with (no operand would tell its size), and below what the
    graph writes to: a copy that is written to afterwards is no longer what it was copied from.
    """

    def __init__(self, flow: ValueFlow, writer: SubgraphWriter, taken: Collection[fx.Node]) -> None:
        self.flow = flow
        self.writer = writer
        self._taken = taken

    def lift(
        self, operand: fx.Node, feature: int, single: int | None, alone: bool = False
    ) -> tuple[str, str, set[fx.Node]]:
        """The value of an operand, its Parameter, and the nodes that it stands for.

        ``feature`` is its dim whose size is compiled in, ``single`` one that must be of one axis;
        ``alone`` tells that no other operand is aligned with its other dims.
        """
        chain = self._chain(operand)
        for length in range(len(chain) - 1, 0, -1):
            parameter = self.writer.parameter(chain[length], converted_type(chain[length]))
            try:
                value = self._below(chain, length, parameter)
                self._check(chain, length, (parameter, value), feature, single)
                if alone:
                    self._check_expanded(operand, value)
                return value, parameter, set(chain[:length])
            except RefusedError:
                continue
        parameter = self.writer.parameter(operand)
        return parameter, parameter, set()

    def _chain(self, node: fx.Node) -> list[fx.Node]:
        chain = [node]
        while chain[-1] not in self._taken and not self.flow.is_mutated(chain[-1]):
            call = lookup(chain[-1])
            source = self._source(chain[-1], call) if call is not None else None
            if source is None or not is_tensor(source) or tensor(source).dtype not in CONVERTED:
                break
            if {tensor(source).dtype, tensor(chain[-1]).dtype} == {*HALVES}:
                break  # neither holds the values of the other
            chain.append(source)
        return chain

    def _source(self, node: fx.Node, call: Call) -> fx.Node | None:
        if call.op in LAYOUTS:
            source = call.get("input")
            return self.flow.read(node, source) if isinstance(source, fx.Node) else None
        if not is_elementwise(call.op) or len(self.flow.consumers(node)) != 1:
            return None
        sources = [source for source in self.flow.operands(node) if not is_number(source)]
        return sources[0] if len(sources) == 1 else None

    def _below(self, chain: list[fx.Node], length: int, value: str) -> str:
        """The value of the first of a chain, made of that of the one at ``length``."""
        for node in reversed(chain[:length]):
            call = lookup(node)
            assert call is not None
            if call.op in LAYOUTS:
                value = apply_layout(node, call, self.writer, value)
            else:
                value = self._scaled(node, call, value)
        return value

    def _check(
        self,
        chain: list[fx.Node],
        length: int,
        ends: tuple[str, str],
        feature: int,
        single: int | None,
    ) -> None:
        axes, dims = self.writer.axes, self.writer.types[ends[1]].dims
        known = axes.leaves(dims[feature])
        functions = [lookup(node) for node in chain[:length]]
        kept = any(call and call.op not in LAYOUTS and not _is_factor(call) for call in functions)
        if kept and not isinstance(axes.size(known), int):
            raise RefusedError(f"values of `{chain[0].name}` would be kept, of a size not known")
        if single is not None and len(axes.leaves(dims[single])) > 1:
            raise RefusedError(f"a dim of `{chain[0].name}` would be along two axes")
        for dim in self.writer.types[ends[0]].dims:
            static = [a for a in axes.leaves(dim) if a in known and isinstance(axes.sizes[a], int)]
            if len(axes.leaves(dim)) - len(static) > 1:
                raise RefusedError(f"the sizes in a dim of `{chain[length].name}` are not known")

    def _check_expanded(self, operand: fx.Node, value: str) -> None:
        axes = self.writer.axes
        if axes.expanded.intersection(axes.leaves(self.writer.types[value].axes)):
            raise RefusedError(f"`{operand.name}` would be expanded inside")

    def _scaled(self, node: fx.Node, call: Call, value: str) -> str:
        def operand(argument: object) -> str:
            if isinstance(argument, fx.Node):
                number = self.flow.read(node, argument)
                return self.writer.scalar(number) if is_number(argument) else value
            if not isinstance(argument, int | float):
                raise RefusedError(f"`{node.name}` takes {argument!r}; accepted: numbers")
            return self.writer.scalar(argument)

        return self.writer.to(expand_elementwise(call, self.writer, operand), element_type(node))


def _is_factor(call: Call) -> bool:
    """Whether an op multiplies by a number, which can move behind the product."""
    sides = ("input", "other") if call.op == "mul" else ("other",) if call.op == "div" else ()
    return any(is_number(call.get(side)) for side in sides)
