"""The printed form of Subgraph: ``print_subgraph`` writes it, ``parse_subgraph`` reads it back.

The grammar stands in ``ir/subgraph.py``. Line breaks and indentation are free when reading, ``;``
may separate nodes, and ``#`` starts a comment: the text may be edited by hand.
"""

from __future__ import annotations

from snipjit.ir.subgraph import Node, Subgraph, TensorType
from snipjit.ir.text.tokens import Tokens, print_attrs


def print_subgraph(subgraph: Subgraph) -> str:
    """The text of a Subgraph, a line for each axis and node; reading it gives back an equal one."""
    lines = [f"subgraph @{subgraph.name}"]
    for axis, size in subgraph.axes.items():
        lines.append(f"axis {axis}" if size is None else f"axis {axis} = {size}")
    return "\n".join([*lines, *map(print_node, subgraph.nodes)]) + "\n"


def print_node(node: Node) -> str:
    """One node as a line."""
    operands = "".join(f" %{name}" for name in node.inputs)
    attrs = print_attrs(dict(node.attrs))
    return f"%{node.name} = {node.op}{operands}{attrs} : {print_type(node.type)}"


def print_type(type: TensorType) -> str:
    """Element type and dims: ``f32[b][h d]``."""
    return type.dtype + "".join(f"[{' '.join(dim)}]" for dim in type.dims)


def around(subgraph: Subgraph, fault: Node, context: int = 4) -> str:
    """The printed nodes around one, which is marked by ``>``: the end of error messages."""
    at = next((i for i, node in enumerate(subgraph.nodes) if node is fault), 0)
    shown = range(max(0, at - context), min(len(subgraph.nodes), at + context + 1))
    return "\n".join(f"{'>' if i == at else ' '} {print_node(subgraph.nodes[i])}" for i in shown)


def parse_subgraph(text: str) -> Subgraph:
    """The Subgraph of a text. ParseError names the line that is not in the grammar."""
    tokens = Tokens(text)
    tokens.expect("subgraph")
    name = tokens.word("@name", prefix="@")
    axes: dict[str, int | None] = {}
    nodes: list[Node] = []
    while not tokens.done:
        if tokens.accept("axis"):
            axis = tokens.word("the name of an axis")
            axes[axis] = tokens.integer("a size") if tokens.accept("=") else None
        else:
            nodes.append(_node(tokens))
    return Subgraph(name, axes, tuple(nodes))


def _node(tokens: Tokens) -> Node:
    name = tokens.word("'axis' or the %name of a node", prefix="%")
    tokens.expect("=")
    op = tokens.word("an operation")
    inputs = []
    while tokens.peek().startswith("%"):
        inputs.append(tokens.word("an operand", prefix="%"))
    attrs = tokens.attrs()
    tokens.expect(":")
    type = TensorType(tokens.dtype(), tokens.dims())
    return Node(name, op, tuple(inputs), type, attrs)
