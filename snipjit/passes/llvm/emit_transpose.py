"""Register transposes: ``width`` rows of R neighbours in memory to R vectors of lanes, and back.

Rows i, i+R, i+2R, … are laid side by side in one vector, so that a square R×R transpose inside
every part of R lanes gives the columns, and is its own inverse. It takes log2(R) stages of R
two-operand shuffles: inside quads of four lanes, then in units of quads where the squares are whole
vectors. Both are instructions that need no register for their mask. Only squares of parts of a
vector take shuffles that do: they swap off-diagonal halves of 2s×2s blocks for s = 4, 8, …
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from snipjit.passes.llvm.vector_ir import QUAD, interleave, pick, pick_of_two


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
    size, width = len(vectors), vectors[0].type.count
    if size < QUAD:
        return _swap_blocks(builder, vectors, 1)
    vectors = _transpose_within_quads(builder, vectors)
    if size < width:
        return _swap_blocks(builder, vectors, QUAD)
    columns = [_transpose_quads(builder, vectors[i::QUAD]) for i in range(QUAD)]
    return [column[number] for number in range(size // QUAD) for column in columns]


def _swap_blocks(builder: ir.IRBuilder, vectors: list[ir.Value], stride: int) -> list[ir.Value]:
    """The off-diagonal halves of 2s×2s blocks change places, for s from ``stride`` on."""
    width = vectors[0].type.count
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


def _transpose_within_quads(builder: ir.IRBuilder, vectors: list[ir.Value]) -> list[ir.Value]:
    """4×4 transposes of every four vectors inside every four lanes."""
    result = []
    for i in range(0, len(vectors), QUAD):
        ab, cd = (interleave(builder, vectors[j], vectors[j + 1], 1) for j in (i, i + 2))
        result += [z for x, y in zip(ab, cd, strict=True) for z in interleave(builder, x, y, 2)]
    return result


def _transpose_quads(builder: ir.IRBuilder, vectors: list[ir.Value]) -> list[ir.Value]:
    """A transpose of as many vectors as each has quads, in units of quads."""
    if len(vectors) == 1:
        return vectors
    pairs = [
        interleave(builder, a, b, QUAD) for a, b in zip(vectors[0::2], vectors[1::2], strict=True)
    ]
    even, odd = (_transpose_quads(builder, list(half)) for half in zip(*pairs, strict=True))
    return [vector for pair in zip(even, odd, strict=True) for vector in pair]


def _concatenate(builder: ir.IRBuilder, parts: Sequence[ir.Value]) -> ir.Value:
    while len(parts) > 1:
        lanes = range(2 * parts[0].type.count)
        pairs = zip(parts[0::2], parts[1::2], strict=True)
        parts = [pick_of_two(builder, a, b, lanes) for a, b in pairs]
    return parts[0]


def _lanes(builder: ir.IRBuilder, vector: ir.Value, lanes: Sequence[int]) -> ir.Value:
    return vector if len(lanes) == vector.type.count else pick(builder, vector, lanes)
