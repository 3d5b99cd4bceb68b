"""``tril`` and ``triu`` of scores: a condition on row and column indices."""

from __future__ import annotations

from snipjit.ir.subgraph import Dim
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.refused import RefusedError

TRIANGLES = ("tril", "triu")


def triangle(writer: SubgraphWriter, op: str, value: str, diagonal: str) -> str:
    """The value where column - row is at most (``tril``) or at least ``diagonal``, else 0."""
    rows, columns = writer.types[value].dims[-2:]
    row = _index(writer, rows, 1)
    return cut(writer, op, value, (row, _index(writer, columns, 0)), diagonal)


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


def _index(writer: SubgraphWriter, dim: Dim, position: int) -> str:
    """The index along a dim; 0 where there is no axis."""
    if not dim:
        return writer.constant(0.0)
    if len(dim) > 1:
        raise RefusedError("tril or triu over a merged dim; accepted: rows and columns apart")
    return writer.index(dim, position)
