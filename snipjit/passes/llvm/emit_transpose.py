"""Register transposes: ``width`` rows of R neighbours in memory to R vectors of lanes, and back.

Rows i, i+R, i+2R, … are laid side by side in one vector, so that a square R×R transpose inside
every part of R lanes gives the columns. The square transpose swaps off-diagonal halves of 2s×2s
blocks for s = 1, 2, 4, … : log2(R) stages of R two-operand shuffles, its own inverse.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from snipjit.passes.llvm.vector_ir import pick, pick_of_two


def rows_to_columns(builder: ir.IRBuilder, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """R vectors of ``len(rows)`` lanes; lane i of vector j is ``rows[i][j]``."""
    size = rows[0].type.count
    wide = [_concatenate(builder, rows[i::size]) for i in range(size)]
    return _transpose_squares(builder, wide)


def columns_to_rows(builder: ir.IRBuilder, columns: Sequence[ir.Value]) -> list[ir.Value]:
    """The inverse: rows[i][j] is lane i of columns[j]."""
    size, width = len(columns), columns[0].type.count
    squares = _transpose_squares(builder, list(columns))
    return [
        _lanes(builder, squares[row % size], range(row - row % size, row - row % size + size))
        for row in range(width)
    ]


def _transpose_squares(builder: ir.IRBuilder, vectors: list[ir.Value]) -> list[ir.Value]:
    width, stride = vectors[0].type.count, 1
    while stride < len(vectors):
        low = [lane if not lane & stride else width + lane - stride for lane in range(width)]
        high = [lane + stride if not lane & stride else width + lane for lane in range(width)]
        result = list(vectors)
        for i in range(len(vectors)):
            if not i & stride:
                a, b = vectors[i], vectors[i + stride]
                result[i] = pick_of_two(builder, a, b, low)
                result[i + stride] = pick_of_two(builder, a, b, high)
        vectors, stride = result, stride * 2
    return vectors


def _concatenate(builder: ir.IRBuilder, parts: Sequence[ir.Value]) -> ir.Value:
    while len(parts) > 1:
        lanes = range(2 * parts[0].type.count)
        pairs = zip(parts[0::2], parts[1::2], strict=True)
        parts = [pick_of_two(builder, a, b, lanes) for a, b in pairs]
    return parts[0]


def _lanes(builder: ir.IRBuilder, vector: ir.Value, lanes: Sequence[int]) -> ir.Value:
    return vector if len(lanes) == vector.type.count else pick(builder, vector, lanes)
