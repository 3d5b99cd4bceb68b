"""The roles of axes in a kernel: which stay to the end, and which a task has a block of."""

from __future__ import annotations

from collections.abc import Iterable

from snipjit.linear_ir import Expression, LinearIR, Statement, expressions

REDUCTIONS = ("brgemm", "reduce")

SYNTHETIC_LANES = "lane"
"""The lanes axis, of size 1, of a graph that has none: its kernel is scalar."""


def kept_axes(lir: LinearIR) -> list[str]:
    """The axes of every product, reduction and result; the one in lanes last."""
    anchors = [e for e in lir.expressions() if e.op in (*REDUCTIONS, "store")]
    reduced = {axis for e in anchors for axis in e.over}
    kept = {
        axis
        for axis in lir.axes
        if axis not in reduced and all(axis in e.type.axes for e in anchors)
    }
    kept |= {SYNTHETIC_LANES} & {*lir.axes}
    return list(lir.sort_axes(kept))


def row_axes(lir: LinearIR) -> list[str]:
    """The kept axes of which a task takes a block, because its elements share what is streamed.

    That is the one in lanes; if none is, those that some input of every product lacks. Without
    products there are none.
    """
    kept = kept_axes(lir)
    if in_lanes := [axis for axis in kept if axis in lir.lanes]:
        return in_lanes
    products = [e for e in lir.expressions() if e.op == "brgemm"]
    shared = [_lacking(lir, e, kept) for e in products]
    return [axis for axis in kept if shared and all(axis in lacking for lacking in shared)]


def _lacking(lir: LinearIR, product: Expression, kept: list[str]) -> set[str]:
    tensors = [lir.tensors[name] for name in product.inputs[:2] if name in lir.tensors]
    return {axis for axis in kept if any(axis not in tensor.axes for tensor in tensors)}


def in_vectors(lir: LinearIR, axis: str, body: Iterable[Statement]) -> bool:
    """Whether anything in a body has whole vectors of the axis, if there are as many."""
    return any(lir.vector_axis((*e.type.axes, *e.over)) == axis for e in expressions(body))


def panel_axes(lir: LinearIR) -> list[str]:
    """The row axes that tasks have blocks of, outer to inner: those split into panels."""
    blocked = {loop.axis for _, loops in lir.walk() for loop in loops if loop.parallel}
    blocked &= {loop.axis for _, loops in lir.walk() for loop in loops if loop.step > 1}
    return [axis for axis in row_axes(lir) if axis in blocked]
