"""The monoid of online softmax: a running maximum, and sums that follow it when it moves.

Of what was seen so far a maximum ``m`` is kept, and sums of terms ``exp(x - m)``. Two such states
combine into one of the larger maximum, to which the sums of each are brought by ``exp(m - larger)``
(Milakov and Gimelshein, arXiv:1805.02867; Dao, arXiv:2307.08691). A row that has seen only -inf
subtracts 0 instead of its maximum, so that it can still recover.

A part of one iteration is lifted into the state in which it is combined: its terms are exponentials
of differences from the maximum that is common already. The parts of tasks have maxima of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.operations import MONOIDS
from snipjit.ir.states import State


@dataclass(frozen=True)
class Exponential:
    """The function that makes the terms of sums: an operation, and its attributes."""

    op: str
    attrs: Mapping[str, Any]


def online(state: State, exposed: bool) -> State:
    """A maximum as one by which others are scaled; ``exposed``: they feel that it is infinite."""
    x = state.value
    last = f"{x}.last" if exposed else ""
    return replace(state, safe=f"{x}.safe", scale=f"{x}.scale", last=last)


def move_maximum(
    state: State, type: ValueType, exp: Exponential, part: str, suffix: str = ""
) -> list[Expression]:
    """Combine a part into a maximum, and make what brings older sums to the new one.

    What is made has names that end with ``suffix``; the maximum and its ``last`` keep theirs.
    """
    x, op = state.value, MONOIDS[state.monoid].combine
    new, safe, moved = (f"{name}{suffix}" for name in (f"{x}.new", state.safe, f"{x}.moved"))
    last = [Expression(op, state.last, (new, new), type)] if state.last else []
    return [
        Expression(op, new, (x, part), type),
        Expression("safe", safe, (new,), type),
        Expression("sub", moved, (x, safe), type),
        Expression(exp.op, f"{state.scale}{suffix}", (moved,), type, exp.attrs),
        Expression(op, x, (x, part), type),
        *last,
    ]


def scale_sum(state: State, maximum: State, type: ValueType, suffix: str = "") -> Expression:
    """Bring a sum to a maximum that has moved."""
    scale = f"{maximum.scale}{suffix}"
    return Expression("mul", state.value, (state.value, scale), type)
