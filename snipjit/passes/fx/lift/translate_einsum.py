"""An einsum of two operands as a matmul between views: dims have names, so all of it is free."""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from torch import fx

from snipjit.passes.fx.lift.equation import Equation, Labels
from snipjit.passes.fx.lift.layouts import transpose_to, view_to
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import Call
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import ints, is_one, is_tensor, literal, normal_dim, tensor

Multiply = Callable[[str, str], str]

_NONE = ("",)


CONTRACTIONS = ("einsum", "inner", "tensordot")
"""Products that say which dims are summed."""


def read_contraction(node: fx.Node, call: Call) -> tuple[Equation, fx.Node, fx.Node]:
    """The equation and the two operands; the one whose label ends the result comes second."""
    if call.op == "einsum":
        equation, left, right = _einsum(node, call)
    else:
        equation, left, right = _pairwise(node, call)
    _check_sizes(node, equation, left, right)
    last = [label for label in equation.result if label not in equation.batch][-1:]
    if last and last[0] in equation.left:
        return equation.flipped(), right, left
    return equation, left, right


def _einsum(node: fx.Node, call: Call) -> tuple[Equation, fx.Node, fx.Node]:
    text, given = call.get("equation"), call.get("operands")
    operands = list(given) if isinstance(given, list | tuple) else [given, *call.rest]
    if not isinstance(text, str):
        text, operands = _of_sublists(node, [text, given, *call.rest])
    if len(operands) != 2 or not all(map(is_tensor, operands)):
        raise RefusedError(f"`{node.name}` (einsum) has {len(operands)} operands; accepted: two")
    left, right = operands
    return Equation.of(text, tensor(left).dim(), tensor(right).dim()), left, right


def _of_sublists(node: fx.Node, given: list[Any]) -> tuple[str, list[Any]]:
    """``einsum(x, [0, 1], y, [1, 2], [0, 2])`` as an equation and its operands."""
    operands, sublists = given[: len(given) // 2 * 2 : 2], given[1::2]
    terms = [_letters(node, sublist) for sublist in sublists]
    result = f"->{_letters(node, given[-1])}" if len(given) % 2 else ""
    return ",".join(terms) + result, operands


def _letters(node: fx.Node, sublist: Any) -> str:
    """The labels of a sublist, 0 to 51, as letters; torch orders those of a result alike."""
    if not isinstance(sublist, list | tuple):
        raise RefusedError(f"`{node.name}` (einsum) takes {sublist!r}; accepted: a list of labels")
    labels = ascii_uppercase + ascii_lowercase
    return "".join("..." if label is Ellipsis else labels[label] for label in sublist)


def _pairwise(node: fx.Node, call: Call) -> tuple[Equation, fx.Node, fx.Node]:
    """``inner`` and ``tensordot``: the dims that are summed, and then all others in order."""
    left, right = map(call.get, ("a", "b") if call.op == "tensordot" else ("input", "other"))
    if not (is_tensor(left) and is_tensor(right)):
        raise RefusedError(f"`{node.name}` ({call.op}) takes a number; accepted: two tensors")
    ranks = tensor(left).dim(), tensor(right).dim()
    dims, others = call.get("dims", 2), call.get("dims_other")
    dims = dims if others is None else (dims, others)
    summed = _summed_dims(node, dims, *ranks) if call.op == "tensordot" else None
    own, other = summed or ([ranks[0] - 1], [ranks[1] - 1])
    shared = dict(zip(other, own, strict=True))
    lhs = tuple(f"l{dim}" for dim in range(ranks[0]))
    rhs = tuple(f"l{shared[d]}" if d in shared else f"r{d}" for d in range(ranks[1]))
    kept = (*(x for x in lhs if x not in rhs), *(x for x in rhs if x not in lhs))
    return Equation(lhs, rhs, kept), left, right


def _summed_dims(node: fx.Node, dims: Any, left: int, right: int) -> tuple[list[int], list[int]]:
    if (count := literal(dims)) is not None:
        return list(range(left - count, left)), list(range(count))
    if not isinstance(dims, list | tuple) or len(dims) != 2:
        raise RefusedError(f"`{node.name}` (tensordot) goes over {dims!r}; accepted: literal dims")
    own, other = (list(of) if isinstance(of, list | tuple) else [of] for of in dims)
    return [normal_dim(d, left) for d in ints(own)], [normal_dim(d, right) for d in ints(other)]


def _check_sizes(node: fx.Node, equation: Equation, left: fx.Node, right: fx.Node) -> None:
    if not equation.summed:
        raise RefusedError(f"`{node.name}` (einsum) sums over nothing; accepted: a product")
    for x in equation.summed:
        one = is_one(tensor(left).shape[equation.left.index(x)])
        if one != is_one(tensor(right).shape[equation.right.index(x)]):
            raise RefusedError(f"`{node.name}` (einsum) stretches `{x}`; accepted: equal sizes")


def feature_dims(
    equation: Equation, inner: tuple[bool, bool]
) -> tuple[tuple[int, int], tuple[int | None, int | None]]:
    """Of each operand the dim of features, and the one that must be of one axis, if any.

    ``inner`` says which operand is a value of the region. Features are what a product of two
    tensors sums over, else what the result has from the other operand.
    """
    own = (equation.left_only, equation.right_only)
    if any(inner) and not own[inner[0]]:
        raise RefusedError("einsum gives values no dim of their own; accepted: a label of theirs")
    sides = (equation.left, equation.right)
    features: list[int] = []
    single: list[int | None] = []
    for side, free, other in zip(sides, own, reversed(inner), strict=True):
        labels, rest = (free, equation.summed) if other else (equation.summed, free)
        features.append(side.index(labels[-1]) if labels else 0)
        single.append(side.index(rest[-1]) if rest and (other or side is sides[1]) else None)
    return (features[0], features[1]), (single[0], single[1])


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
