"""The legality tables of Subgraph: a row an operation.

A row gives operand counts and a rule for the type, which returns what is wrong, or None. Attributes
stand in ``subgraph_operations.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from snipjit.ir.operations import ELEMENTWISE, MONOIDS, cast_to, wrong_operands
from snipjit.ir.parts import Parts
from snipjit.ir.subgraph import Dim, Node, TensorType
from snipjit.ir.text.subgraph import print_type

Types = Sequence[TensorType]
Rule = Callable[[Node, Types], str | None]


@dataclass(frozen=True)
class Row:
    """Operand counts, and the rule of the type."""

    arity: tuple[int, ...]
    rule: Rule


Table = Mapping[str, Row]


def _expect(found: TensorType, dtype: str, dims: Sequence[Dim]) -> str | None:
    wanted = TensorType(dtype, tuple(dims))
    if found == wanted:
        return None
    return f"the type must be {print_type(wanted)}, not {print_type(found)}"


# Elementwise functions: element types here, dims by one of three alignments.


def elementwise(alignment: Rule) -> dict[str, Row]:
    """The rows of all elementwise functions, with a rule for how their dims align."""

    def rule(node: Node, types: Types) -> str | None:
        return _element_types(node, types) or alignment(node, types)

    return {name: Row((row.arity,), rule) for name, row in ELEMENTWISE.items()}


def _element_types(node: Node, types: Types) -> str | None:
    dtypes, row, to = [type.dtype for type in types], ELEMENTWISE[node.op], cast_to(node.op)
    narrow = [type.dtype for type in types if type.element.is_narrow]
    if narrow and (to is None or to.register != types[0].element.register):
        return f"computes {types[0].element.register}, not {narrow[0]}; convert the operands"
    wanted = row.result or dtypes[-1]
    wrong = None if node.type.dtype == wanted else f"the element type must be {wanted}"
    return wrong_operands(row, dtypes) or wrong


def is_broadcast(node: Node, types: Types) -> str | None:
    """As in NumPy, from the last dim; which of two axes of a dim names the result is free."""
    return _broadcast(node.type.dims, [type.dims for type in types])


def _broadcast(out: Sequence[Dim], operands: Sequence[Sequence[Dim]]) -> str | None:
    if len(out) != max(len(dims) for dims in operands):
        return f"the rank must be {max(len(dims) for dims in operands)}"
    columns = zip_longest(*(reversed(dims) for dims in (out, *operands)), fillvalue=())
    for index, (wanted, *found) in enumerate(columns, 1):
        if wanted not in found or (not wanted and any(found)):
            return f"dim -{index} must be that of an operand"
    return None


def is_union(node: Node, types: Types) -> str | None:
    """By name: the axes of the result are those of the operands."""
    return _same_axes(node, {axis for type in types for axis in type.axes})


def _same_axes(node: Node, axes: set[str]) -> str | None:
    if set(node.type.axes) == axes:
        return None
    return f"the axes must be those of the operands: {' '.join(sorted(axes))}"


def is_aligned(node: Node, types: Types) -> str | None:
    """One of the two; both only say what is wrong if neither fits."""
    return is_broadcast(node, types) and is_union(node, types)


# Operations of both forms.


def _parameter(node: Node, types: Types) -> str | None:
    return _wrong_parts(node) or _wrong_block(node)


def _wrong_parts(node: Node) -> str | None:
    """What is wrong with the finer axes that memory knows of a tensor."""
    try:
        parts = Parts.of(node.attrs)
        wrong = parts.misfit(node.type.dims) if parts is not None else None
    except (TypeError, ValueError, AttributeError):
        wrong = "parts are ((dim, …), ((axis, (part, …)), …))"
    if not wrong and {"block", "parts"} <= node.attrs.keys():
        wrong = "a tensor in blocks has no parts"
    return wrong


def _wrong_block(node: Node) -> str | None:
    """What is wrong with the blocks in which a tensor lies in memory."""
    if "block" not in node.attrs:
        return None
    axis, size = (*node.attrs["block"], None, None)[:2]
    if (axis,) not in node.type.dims or not isinstance(size, int) or size < 1:
        return "block names an axis that is a dim of its own, and how many neighbours there are"
    return None


def _number(node: Node, types: Types) -> str | None:
    return "a number has size 1" if node.type.axes else None


def _iota(node: Node, types: Types) -> str | None:
    return _expect(node.type, "i32", [(node.attrs["axis"],)])


def _gather(node: Node, types: Types) -> str | None:
    (table, index), axis = types, node.attrs["axis"]
    if index.element.kind != "integer" or index.element.is_narrow:
        return f"an index is i32 or i64, not {index.dtype}"
    if (axis,) not in table.dims or axis in index.axes:
        return "axis names a dim of its own of the first operand, which the second one lacks"
    at = table.dims.index((axis,))
    dims = (*table.dims[:at], *index.dims, *table.dims[at + 1 :])
    if node.type == TensorType(table.dtype, dims):
        return None
    if node.type.dtype != table.dtype:
        return f"the element type must be {table.dtype}"
    return _same_axes(node, {*table.axes, *index.axes} - {axis})


def _result(node: Node, types: Types) -> str | None:
    (source,), rank = types, len(node.type.dims)
    if wrong := _wrong_parts(node) or _wrong_block(node):
        return wrong
    parts = Parts.of(node.attrs)
    if parts is not None and any(map(parts.is_index, parts.products)):
        return "a result has all parts of its axes"
    if sorted(node.attrs["order"]) != list(range(rank)):
        return f"order must hold each of 0 … {rank - 1} once"
    if node.type.dtype != source.dtype or not set(source.axes) <= set(node.type.axes):
        return f"the type must hold every axis of {print_type(source)}"
    return None


def _reduce(node: Node, types: Types) -> str | None:
    (source,), over = types, set(node.attrs["over"])
    if node.attrs["monoid"] not in MONOIDS:
        return f"unknown monoid; one of {', '.join(MONOIDS)}"
    if source.dtype != MONOIDS[node.attrs["monoid"]].dtype:
        return f"{node.attrs['monoid']} combines {MONOIDS[node.attrs['monoid']].dtype}"
    if not over or not over <= set(source.axes):
        return "over must hold axes of the operand"
    return _same_axes(node, set(source.axes) - over)


def _factors(node: Node, types: Types) -> str | None:
    """Products are of what registers hold as f32, not of two narrow types, and sum in f32."""
    dtypes = {type.dtype for type in types}
    narrow = {type.dtype for type in types if type.element.is_narrow}
    if any(type.element.register != "f32" for type in types) or len(narrow) > 1:
        return f"no products of {' and '.join(sorted(dtypes))}"
    return None if node.type.dtype == "f32" else "products sum in f32"


def _brgemm(node: Node, types: Types) -> str | None:
    lhs, rhs = (set(type.axes) for type in types)
    over = set(node.attrs["over"])
    if not over or not over <= lhs & rhs:
        return "over must hold axes of both operands"
    return _factors(node, types) or _same_axes(node, (lhs | rhs) - over)


# Operations of the positional form.


def _matmul(node: Node, types: Types) -> str | None:
    lhs, rhs, out = types[0].dims, types[1].dims, node.type.dims
    if len(lhs) < 2 or len(rhs) < 2 or len(out) < 2:
        return "operands and result have at least two dims"
    if out[-2:] != (lhs[-2], rhs[-1]):
        return "the last dims must be the rows of the left and the columns of the right operand"
    batch = _broadcast(out[:-2], [lhs[:-2], rhs[:-2]]) if len(out) > 2 else None
    return _factors(node, types) or batch


def _reduce_dims(node: Node, types: Types) -> str | None:
    (source,), attrs = types, node.attrs
    if attrs["monoid"] not in MONOIDS:
        return f"unknown monoid; one of {', '.join(MONOIDS)}"
    rank = len(source.dims)
    if not attrs["dims"] or any(not -rank <= index < rank for index in attrs["dims"]):
        return f"dims must be dims of the operand, of rank {rank}"
    reduced = {index % rank for index in attrs["dims"]}
    dims = [() if i in reduced else dim for i, dim in enumerate(source.dims)]
    if not attrs["keepdim"]:
        dims = [dim for i, dim in enumerate(source.dims) if i not in reduced]
    return _expect(node.type, source.dtype, dims)


def _softmax(node: Node, types: Types) -> str | None:
    if not -len(node.type.dims) <= node.attrs["dim"] < 0:
        return "dim must be a dim of the operand, counted from the end (-1 is the last)"
    if node.attrs.get("hidden", "zero") != "zero":
        return "hidden is 'zero' or absent"
    return _expect(node.type, "f32", types[0].dims) or _extra_column(node, types[1:])


def _extra_column(node: Node, types: Types) -> str | None:
    """A column that softmax takes in broadcasts, but for its dim, which is to have size 1."""
    dims, index = list(node.type.dims), node.attrs["dim"]
    for type in types:
        if len(type.dims) >= -index:
            dims[index] = type.dims[index]
        if type.dtype != "f32" or (wrong := _broadcast(dims, [dims, type.dims])):
            return f"the column: {wrong or 'the element type must be f32'}"
    return None


def _sdpa(node: Node, types: Types) -> str | None:
    attrs, dims = node.attrs, [type.dims for type in types]
    if len(types) != 3 + attrs["mask"] + attrs["scale"]:
        return "the operands are q, k, v, then the mask and the scale if their attributes say so"
    if any(len(d) < 2 + attrs["gqa"] for d in dims[:3]):
        return "q, k and v have too few dims"
    if attrs["scale"] and types[-1].axes:
        return "the scale is one number"
    if wrong := _factors(node, types[:3]):
        return wrong
    out = node.type.dims
    return None if out[-2:] == (dims[0][-2], dims[2][-1]) else "the last dims must be q's and v's"


def _transpose(node: Node, types: Types) -> str | None:
    (source,), order = types, node.attrs["order"]
    if sorted(order) != list(range(len(source.dims))):
        return f"order must hold each of 0 … {len(source.dims) - 1} once"
    return _expect(node.type, source.dtype, [source.dims[index] for index in order])


def _view(node: Node, types: Types) -> str | None:
    if node.type.axes == types[0].axes and node.type.dtype == types[0].dtype:
        return None
    return f"the axes must be {' '.join(types[0].axes) or 'none'}, in this order"


def _unsqueeze(node: Node, types: Types) -> str | None:
    (source,), dim = types, node.attrs["dim"]
    if not 0 <= dim <= len(source.dims):
        return f"dim must be from 0 to {len(source.dims)}"
    return _expect(node.type, source.dtype, [*source.dims[:dim], (), *source.dims[dim:]])


def _expand(node: Node, types: Types) -> str | None:
    (source,) = types
    if node.type.dtype != source.dtype or len(node.type.dims) < len(source.dims):
        return "the type must have the operand's element type and at least its rank"
    return None


COMMON: dict[str, Row] = {
    "parameter": Row((0,), _parameter),
    "scalar": Row((0,), _number),
    "constant": Row((0,), _number),
    "iota": Row((0,), _iota),
    "gather": Row((2,), _gather),
    "result": Row((1,), _result),
}
POSITIONAL: dict[str, Row] = {
    "matmul": Row((2,), _matmul),
    "reduce_dims": Row((1,), _reduce_dims),
    "softmax": Row((1, 2), _softmax),
    "sdpa": Row((3, 4, 5), _sdpa),
    "transpose": Row((1,), _transpose),
    "view": Row((1,), _view),
    "unsqueeze": Row((1,), _unsqueeze),
    "expand": Row((1,), _expand),
}
CANONICAL: dict[str, Row] = {
    "reduce": Row((1,), _reduce),
    "brgemm": Row((2,), _brgemm),
}
