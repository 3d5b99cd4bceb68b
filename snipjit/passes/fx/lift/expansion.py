"""One elementwise call on its way into a Subgraph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import Call
from snipjit.passes.fx.nodes.refused import RefusedError


@dataclass(frozen=True)
class Expansion:
    """One call on its way into the Subgraph: where to write, what to read."""

    writer: SubgraphWriter
    call: Call
    operand: Callable[[Any], str]

    def __getitem__(self, name: str) -> str:
        """The value of a required argument."""
        if name not in self.call.arguments:
            raise RefusedError(f"`{self.call.op}` has no argument `{name}`")
        return self.operand(self.call.arguments[name])

    def scalar(self, name: str, default: float) -> str:
        """The value of an argument that the call may leave out."""
        return self.operand(self.call.get(name, default))

    def op(self, function: str, *values: str | float) -> str:
        """An elementwise function of values and constants."""
        write = self.writer
        names = [value if isinstance(value, str) else write.constant(value) for value in values]
        return write.op(function, *names)

    def scaled(self, value: str, by: str) -> str:
        """``value`` times an argument of the call; unwritten where it is literally 1."""
        factor = self.call.get(by, 1)
        literal = isinstance(factor, int | float) and factor == 1
        return value if literal else self.op("mul", value, self.operand(factor))
