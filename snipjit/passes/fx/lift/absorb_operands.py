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
from snipjit.passes.fx.nodes.op_table import Call, lookup
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    DTYPES,
    HALVES,
    element_type,
    is_number,
    is_tensor,
    tensor,
)


def absorb_operand(
    flow: ValueFlow,
    writer: SubgraphWriter,
    reader: fx.Node,
    operand: fx.Node,
    name: str,
    head: int,
    taken: Collection[fx.Node],
) -> tuple[str, set[fx.Node]]:
    """The value of ``operand`` from the highest tensor that can be its Parameter.

    Before:  %l = linear(…); %w = l.view(b, s, 4, 16); %t = w.transpose(1, 2)
    After:   %q = parameter : f32[q0][q1][q2_0 q2_1];  %0 = view %q;  %1 = transpose %0

    Returns the value's name and the nodes it stands for. The absorbed chain is cut where a view
    regroups elements, where a dim would hold two unknown sizes at run time, where keys would have
    two axes (pixels of an image: a kernel streams along one), and below what the graph writes to: a
    copy that is written to afterwards is no longer what it was copied from.
    """
    chain = _chain(flow, operand, taken)
    for length in range(len(chain) - 1, 0, -1):
        saved = writer.save()
        try:
            return _write(flow, writer, chain, length, name, head), set(chain[:length])
        except RefusedError:
            writer.restore(saved)
    return writer.parameter(operand, name), set()


def _chain(flow: ValueFlow, node: fx.Node, taken: Collection[fx.Node]) -> list[fx.Node]:
    chain = [node]
    while chain[-1] not in taken and not flow.is_mutated(chain[-1]):
        call = lookup(chain[-1])
        source = _source(flow, chain[-1], call) if call is not None else None
        if source is None or not is_tensor(source) or tensor(source).dtype not in DTYPES:
            break
        if {tensor(source).dtype, tensor(chain[-1]).dtype} == {*HALVES}:
            break  # neither holds the values of the other
        chain.append(source)
    return chain


def _source(flow: ValueFlow, node: fx.Node, call: Call) -> fx.Node | None:
    if call.op in LAYOUTS:
        source = call.get("input")
        return flow.read(node, source) if isinstance(source, fx.Node) else None
    if not is_elementwise(call.op) or len(flow.consumers(node)) != 1:
        return None
    sources = [source for source in flow.operands(node) if not is_number(source)]
    return sources[0] if len(sources) == 1 else None


def _write(
    flow: ValueFlow, writer: SubgraphWriter, chain: list[fx.Node], length: int, name: str, head: int
) -> str:
    value = writer.parameter(chain[length], name)
    functions = False
    for node in reversed(chain[:length]):
        call = lookup(node)
        assert call is not None
        if call.op in LAYOUTS:
            value = apply_layout(node, call, writer, value)
        else:
            value = _scaled(flow, writer, node, call, value)
            functions |= not _is_factor(call)
    axes = writer.axes
    known = axes.leaves(writer.types[value].dims[head])
    if functions and not isinstance(axes.size(known), int):
        raise RefusedError(f"values of `{chain[0].name}` would be kept, of a size not known")
    keys = axes.leaves(writer.types[value].dims[-3 - head]) if name != "q" and head < 0 else ()
    if len(keys) > 1:
        raise RefusedError(f"the keys of `{chain[0].name}` are along {len(keys)} axes")
    for dim in writer.types[name].dims:
        static = [a for a in axes.leaves(dim) if a in known and isinstance(axes.sizes[a], int)]
        if len(axes.leaves(dim)) - len(static) > 1:
            raise RefusedError(f"the sizes in a dim of `{chain[length].name}` are not known")
    return value


def _is_factor(call: Call) -> bool:
    """Whether an op multiplies by a number, which can move behind the product."""
    sides = ("input", "other") if call.op == "mul" else ("other",) if call.op == "div" else ()
    return any(is_number(call.get(side)) for side in sides)


def _scaled(flow: ValueFlow, writer: SubgraphWriter, node: fx.Node, call: Call, value: str) -> str:
    def operand(argument: object) -> str:
        if isinstance(argument, fx.Node):
            return writer.scalar(flow.read(node, argument)) if is_number(argument) else value
        if not isinstance(argument, int | float):
            raise RefusedError(f"`{node.name}` takes {argument!r}; accepted: numbers")
        return writer.scalar(argument)

    return writer.to(expand_elementwise(call, writer, operand), element_type(node))
