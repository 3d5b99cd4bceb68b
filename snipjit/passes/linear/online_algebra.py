"""Chain: what a loop does with a maximum, and whether it commutes with scaling a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from snipjit.ir.expression import Expression
from snipjit.ir.operations import ELEMENTWISE, EXPONENTIALS
from snipjit.ir.states import State


@dataclass
class Chain:
    """What the second loop does with the maximum: names of values, by what they are.

    state    of the maximum
    scores   what it is the maximum of: no other value follows it
    aliases  the maximum, or what takes its place
    shifted  x - max
    scaled   linear in exp(x - max): sums that must be scaled when the maximum moves
    exposed  depend on the maximum itself, which may be infinite
    zeros    constants 0
    base     the exponential that is taken, which rescales sums as well, and its attributes
    attrs
    row      what is subtracted, if that is another row which the maximum goes into
    """

    state: State
    scores: set[str]
    aliases: set[str]
    shifted: set[str] = field(default_factory=set)
    scaled: set[str] = field(default_factory=set)
    exposed: set[str] = field(default_factory=set)
    zeros: set[str] = field(default_factory=set)
    base: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    row: str = ""

    @property
    def maximum(self) -> str:
        """The maximum of the first loop."""
        return self.state.value

    def admit(self, e: Expression) -> bool:
        """Take in the next expression; False if it breaks the algebra."""
        tainted = self.aliases | self.shifted | self.scaled
        if not tainted.intersection(e.inputs):
            return True
        assert e.output is not None or e.op == "store"
        if e.output is None:
            return False
        first, rest = e.inputs[0], set(e.inputs[1:])
        if e.op == "sub" and first in self.scores and rest <= self.aliases:
            self.shifted.add(e.output)
        elif e.op in EXPONENTIALS and first in self.shifted and self.base in ("", e.op):
            self.base, self.attrs = e.op, e.attrs
            self.scaled.add(e.output)
        elif not self._is_linear(e):
            return False
        else:
            self.scaled.add(e.output)
        felt = rest & ({self.maximum, self.row} - {""})
        if (e.op == "sub" and felt) or self.exposed.intersection(e.inputs):
            self.exposed.add(e.output)
        return True

    def _is_linear(self, e: Expression) -> bool:
        other = (self.aliases | self.shifted).intersection(e.inputs)
        updates = e.output in e.inputs and e.op not in ("add", "brgemm", "fma")
        if other or updates:
            return False
        if e.op in ("brgemm", "fma"):
            one = (e.inputs[0] in self.scaled) != (e.inputs[1] in self.scaled)
            return one and e.inputs[2:3] in ((), (e.output,))
        if e.op == "reduce":
            return bool(e.attrs["monoid"] == "sum")
        if e.op not in ELEMENTWISE:
            return False
        if e.op == "where" and self.exposed.intersection(e.inputs):
            return False  # what it leaves out of a hidden row would come back as NaN
        # An accumulator is scaled where it stands; zeros are as they were.
        scaled = {i for i, name in enumerate(e.inputs) if name in self.scaled}
        fits = scaled | {i for i, n in enumerate(e.inputs) if n == e.output or n in self.zeros}
        return any(scaled <= {*of} <= fits for of in ELEMENTWISE[e.op].linear)
