"""``tril`` and ``triu`` of scores: a condition on row and column indices."""

from __future__ import annotations

from snipjit.ir.subgraph import Dim, TensorType
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.refused import RefusedError

TRIANGLES = ("tril", "triu")


def triangle(writer: SubgraphWriter, op: str, value: str, diagonal: str) -> str:
    """The value where column - row is at most (``tril``) or at least ``diagonal``, else 0."""
    rows, columns = writer.types[value].dims[-2:]
    row = index_along(writer, rows)
    if rows:
        row = writer.add("unsqueeze", TensorType("f32", (rows, ())), row, dim=1)
    return cut(writer, op, value, (row, index_along(writer, columns)), diagonal)


def cut(
    writer: SubgraphWriter, op: str, value: str, indices: tuple[str, str], diagonal: str
) -> str:
    """The triangle of a value whose row and column indices are at hand; booleans become false."""
    row, column = indices
    distance = writer.op("sub", column, row)
    kept = writer.op("le" if op == "tril" else "ge", distance, diagonal)
    if writer.types[value].dtype == "i1":
        return writer.op("and", kept, value)
    return writer.op("where", writer.op("not", kept), writer.constant(0.0), value)


def index_along(writer: SubgraphWriter, dim: Dim) -> str:
    """The index along a dim, as a float32 (which holds every index below 2^24)."""
    axes = writer.axes.leaves(dim)
    if not axes:
        return writer.constant(0.0)
    if len(axes) > 1:
        raise RefusedError("a merged dim is numbered; accepted: rows, columns and heads apart")
    index = writer.add("iota", TensorType("i32", (axes,)), axis=axes[0])
    return writer.add("to_f32", TensorType("f32", (axes,)), index)
