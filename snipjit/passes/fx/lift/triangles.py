"""``tril`` and ``triu`` of scores: a condition on row and column indices."""

from __future__ import annotations

from snipjit.ir.subgraph import Dim
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.refused import RefusedError

TRIANGLES = ("tril", "triu")


def triangle(writer: SubgraphWriter, op: str, value: str, diagonal: str) -> str:
    """The value where column - row is at most (``tril``) or at least ``diagonal``, else 0."""
    rows, columns = writer.types[value].dims[-2:]
    row = index_along(writer, rows, 1)
    return cut(writer, op, value, (row, index_along(writer, columns, 0)), diagonal)


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


def index_along(writer: SubgraphWriter, dim: Dim, position: int) -> str:
    """The index along a dim, with ``position`` dims of size 1 behind it; 0 where it has no axis."""
    if not dim:
        return writer.constant(0.0)
    if len(dim) > 1:
        raise RefusedError("a merged dim is numbered; accepted: rows, columns and heads apart")
    return writer.index(dim, position)
