"""State: what a loop carries from one iteration to the next; ``linear_ir.py`` has its text form."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """What a loop carries from one iteration to the next: an accumulator, and the monoid it is in.

    value   the register, which begins with the monoid's identity
    monoid  its row of ``MONOIDS``
    part    what an iteration combines into it; none where a product adds to it by itself
    by      the maximum by which it is scaled: it is a sum of terms ``exp(x - safe)``

    and of a maximum by which others are scaled:

    safe    0 in place of the maximum where that is -inf
    scale   ``exp(value - safe)``: what brings sums so far to a maximum that has moved
    last    the maximum of the last iteration, 0 if there was none
    """

    value: str
    monoid: str
    part: str = ""
    by: str = ""
    safe: str = ""
    scale: str = ""
    last: str = ""


STATE_NAMES = ("part", "by", "safe", "scale", "last")
"""The registers that the text names beside a state's value."""
