"""An einsum of two operands as a matmul between views: dims have names, so all of it is free."""

from __future__ import annotations

from collections.abc import Callable

from torch import fx

from snipjit.passes.fx.lift.equation import Equation, Labels
from snipjit.passes.fx.lift.layouts import transpose_to, view_to
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.op_table import Call
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import is_one, is_tensor, tensor

Multiply = Callable[[str, str], str]

_NONE = ("",)


def read_einsum(node: fx.Node, call: Call) -> tuple[Equation, fx.Node, fx.Node]:
    """The equation and the two operands; the one whose label ends the result comes second."""
    text = call.get("equation")
    given = call.get("operands")
    operands = list(given) if isinstance(given, list | tuple) else [given, *call.rest]
    if not isinstance(text, str):
        raise RefusedError(f"`{node.name}` (einsum) has sublists; accepted: an equation")
    if len(operands) != 2 or not all(map(is_tensor, operands)):
        raise RefusedError(f"`{node.name}` (einsum) has {len(operands)} operands; accepted: two")
    left, right = operands
    equation = Equation.of(text, tensor(left).dim(), tensor(right).dim())
    _check_sizes(node, equation, left, right)
    last = [label for label in equation.result if label not in equation.batch][-1:]
    if last and last[0] in equation.left:
        return equation.flipped(), right, left
    return equation, left, right


def _check_sizes(node: fx.Node, equation: Equation, left: fx.Node, right: fx.Node) -> None:
    if not equation.summed:
        raise RefusedError(f"`{node.name}` (einsum) sums over nothing; accepted: a product")
    for x in equation.summed:
        one = is_one(tensor(left).shape[equation.left.index(x)])
        if one != is_one(tensor(right).shape[equation.right.index(x)]):
            raise RefusedError(f"`{node.name}` (einsum) stretches `{x}`; accepted: equal sizes")


def head_dims(equation: Equation, inner: tuple[bool, bool]) -> tuple[int, int]:
    """The dim of each operand that is a head dimension; ``inner`` says which is of the chain.

    It is the summed one of a product of two tensors, else the one that the result has from the
    other operand.
    """
    own = (equation.left_only, equation.right_only)
    if any(inner) and not own[inner[0]]:
        raise RefusedError("einsum gives values no dim of their own; accepted: a label of theirs")
    left = equation.summed if not any(inner) or inner[0] else own[0]
    right = equation.summed if not any(inner) or inner[1] else own[1]
    return equation.left.index(left[-1]), equation.right.index(right[-1])


def write_einsum(
    writer: SubgraphWriter, equation: Equation, left: str, right: str, multiply: Multiply
) -> str:
    """The product of two values; a label that one of them lacks is a broadcast dim of the batch.

    Before:  einsum("bqgd,bkd->bgqk", %q, %k)
    After:   %0 = transpose %q : f32[b][g][q][d]
             %1 = view, transpose %k : f32[b][][d][k]
             %2 = matmul %0 %1 : f32[b][g][q][k]
    """
    rows, columns, summed = equation.left_only[-1:], equation.right_only[-1:], equation.summed
    batch = [(x,) for x in equation.result if x not in (*rows, *columns)]
    lhs = _arrange(writer, left, equation.left, [*batch, rows, summed])
    rhs = _arrange(writer, right, equation.right, [*batch, summed, columns])
    product = multiply(lhs, rhs)
    labels = (*(x for (x,) in batch), *(rows or _NONE), *(columns or _NONE))
    return _arrange(writer, product, labels, [(x,) for x in equation.result])


def _arrange(writer: SubgraphWriter, value: str, labels: Labels, groups: list[Labels]) -> str:
    """A value with a dim for each group: its dims of those labels in turn, or one of size 1."""
    dims = writer.types[value].dims
    held = [tuple(x for x in group if x in labels) for group in groups]
    order = [labels.index(x) for group in held for x in group]
    order += [index for index in range(len(labels)) if index not in order]
    value = transpose_to(writer, value, order)
    merged = [sum((dims[labels.index(x)] for x in group), ()) for group in held]
    return view_to(writer, value, merged)
