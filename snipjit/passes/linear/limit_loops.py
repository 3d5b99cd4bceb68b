"""LimitLoops: what an index condition hides from every reduction is not computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from snipjit.linear_ir import Expression, Limit, LinearIR, Loop
from snipjit.passes.base import Pass
from snipjit.passes.linear.axis_roles import panel_axes
from snipjit.passes.linear.index_conditions import Definitions, limits_of

MAXIMA = ("max", "larger")


@dataclass(frozen=True)
class LimitLoops(Pass):
    """Limit the streamed axis in panels of rows to where a condition on indices can hold.

    Legal if all that the panel does with a hidden element is to take the maximum of -inf with
    others, or to add zero to a sum: the exponential of -inf less the maximum of the visible
    elements. The condition itself stays, for elements that a limit does not tell from others.
    Other operands are then not looked at where they meet hidden elements: NaN there stays there.

    Before:  for n step 128 { for m step 48 {
               %c = ge %i %j : i1[n m]                 with %i = iota m, %j = iota n
               %t = where %c %s %low : f32[n m]        with %low = -inf
               %x.part = reduce %t {monoid=max, over=(n)} … } }
    After:   for n step 128 { for m where n upto m + 0 step 48 { … } }
    """

    def run(self, lir: LinearIR) -> LinearIR:
        """Limit every panel of every streaming loop."""
        definitions, panels = _definitions(lir), {*panel_axes(lir)}
        parallel = {loop.axis for _, loops in lir.walk() for loop in loops if loop.parallel}
        for panel, loops in lir.walk():
            if not isinstance(panel, Loop) or panel.parallel or panel.axis not in panels:
                continue
            streams = [loop.axis for loop in loops if loop.axis not in panels | parallel]
            if len(streams) == 1:
                panel.limits = _Panel(definitions, panel, streams[0]).limits()
        return lir


def _definitions(lir: LinearIR) -> Definitions:
    """The one Expression that makes a value; accumulators, which have several, have none."""
    found: Definitions = {name: Expression("scalar", name, ()) for name in lir.scalars}
    for statement, _ in lir.walk():
        if isinstance(statement, Expression) and statement.output is not None:
            known = statement.output in found
            found[statement.output] = None if known else statement
    return found


@dataclass
class _Panel:
    """What is known of hidden elements: they are -inf or 0, outside of some limits."""

    definitions: Definitions
    loop: Loop
    stream: str
    hidden: dict[str, set[Limit]] = field(default_factory=dict)
    zero: dict[str, set[Limit]] = field(default_factory=dict)

    def limits(self) -> tuple[Limit, ...]:
        """The limits outside of which no reduction sees anything but its identity."""
        common: set[Limit] | None = None
        for e in self.loop.body:
            if not isinstance(e, Expression):
                return ()
            if self.stream in e.over or (e.op == "store" and self.stream in e.type.axes):
                allowed = self.identity(e)
                common = allowed if common is None else common & allowed
            elif self.stream in e.type.axes and e.output is not None:
                self.follow(e, e.output)
        return tuple(sorted(common or (), key=repr))

    def identity(self, e: Expression) -> set[Limit]:
        """Outside of which limits a reduction adds nothing."""
        if e.op == "reduce" and e.attrs["monoid"] in MAXIMA:
            return self.hidden.get(e.inputs[0], set())
        if e.op == "brgemm":
            return set[Limit]().union(*(self.zero.get(name, set()) for name in e.inputs[:2]))
        if e.op == "reduce" and e.attrs["monoid"] == "sum":
            return self.zero.get(e.inputs[0], set())
        return set()

    def follow(self, e: Expression, name: str) -> None:
        """Learn what a value of the stream is where its operands are hidden."""
        if e.op == "where":
            self.choose(e, name)
        elif e.op in ("add", "sub") and e.inputs[0] in self.hidden:
            self.hidden[name] = self.hidden[e.inputs[0]]
            if e.op == "sub" and self.is_finite(e.inputs[1]):
                self.zero[f"exp {name}"] = self.hidden[name]
        elif e.op == "add" and e.inputs[1] in self.hidden:
            self.hidden[name] = self.hidden[e.inputs[1]]
        elif e.op == "exp" and f"exp {e.inputs[0]}" in self.zero:
            self.zero[name] = self.zero[f"exp {e.inputs[0]}"]
        elif e.op in ("mul", "div", "neg"):
            factors = e.inputs if e.op == "mul" else e.inputs[:1]
            zeros = [self.zero[factor] for factor in factors if factor in self.zero]
            if zeros:
                self.zero[name] = set[Limit]().union(*zeros)

    def choose(self, e: Expression, name: str) -> None:
        """A where whose other side is -inf or 0 hides what its condition does not keep."""
        condition, *sides = e.inputs
        for kept, other in ((True, sides[1]), (False, sides[0])):
            limits = limits_of(self.definitions, condition, kept, self.stream, self.loop.axis)
            source = sides[1 - kept]
            if self.constant(other) == -math.inf:
                self.hidden[name] = limits | self.hidden.get(source, set())
            elif self.constant(other) == 0 and source in self.zero:
                self.zero[name] = limits | self.zero[source]

    def constant(self, name: str) -> float | None:
        made = self.definitions.get(name)
        return made.attrs["value"] if made is not None and made.op == "fill" else None

    def is_finite(self, name: str) -> bool:
        """Whether a maximum was replaced where it is -inf, as the safe softmax forms do."""
        made = self.definitions.get(name)
        if made is None or made.op != "where" or self.stream in made.type.axes:
            return False
        test = self.definitions.get(made.inputs[0])
        return test is not None and test.op == "eq" and test.inputs[0] == made.inputs[2]
