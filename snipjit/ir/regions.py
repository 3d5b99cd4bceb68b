"""Bodies inside bodies: one walker that rebuilds them, and copies of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, Nest, Statement
from snipjit.ir.tensors import Buffer

Rule = Callable[[list[Statement], Nest], list[Statement]]
"""A new body for one, given the loops around it."""


def rewrite(body: list[Statement], rule: Rule, loops: Nest = ()) -> list[Statement]:
    """A body by a rule, after all the bodies inside it; what was given stays as it was."""
    inner = [_inside(s, rule, loops) if isinstance(s, Loop) else s for s in body]
    return rule(inner, loops)


def rewrite_each(
    body: list[Statement], change: Callable[[Expression], Expression]
) -> list[Statement]:
    """A body with each Expression changed, also inside loops."""

    def rule(inner: list[Statement], _: Nest) -> list[Statement]:
        return [change(s) if isinstance(s, Expression) else s for s in inner]

    return rewrite(body, rule)


def _inside(loop: Loop, rule: Rule, loops: Nest) -> Loop:
    around = (*loops, loop)
    pieces = [replace(piece, body=rewrite(piece.body, rule, around)) for piece in loop.pieces]
    return replace(loop, pieces=pieces)


def copy_of(lir: LinearIR) -> LinearIR:
    """A LinearIR of its own: changing it leaves the other as it is."""
    return replace(
        lir,
        axes=dict(lir.axes),
        inputs=list(lir.inputs),
        outputs=list(lir.outputs),
        scalars=list(lir.scalars),
        body=copies(lir.body),
        plans=dict(lir.plans),
    )


def copies(body: list[Statement]) -> list[Statement]:
    """A body of its own."""
    return [_copy(statement) for statement in body]


def _copy(statement: Statement) -> Statement:
    if isinstance(statement, Loop):
        pieces = [
            replace(piece, body=copies(piece.body), ports=[replace(p) for p in piece.ports])
            for piece in statement.pieces
        ]
        return replace(statement, pieces=pieces)
    if isinstance(statement, Buffer):
        return replace(statement, extents=dict(statement.extents))
    return statement


def put(body: list[Statement], old: Statement, new: Statement) -> None:
    """Put a statement in the place of another."""
    body[next(i for i, statement in enumerate(body) if statement is old)] = new
