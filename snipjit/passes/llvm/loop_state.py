"""What a loop carries from one iteration to the next: pointers, and accumulators as LLVM values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from llvmlite import ir

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import Loop, Statement, expressions, walk
from snipjit.passes.llvm.emission import Emission, Scope

EmitBody = Callable[[list[Statement]], None]
Carried = dict[str, ir.Value]
"""What changes from one iteration to the next: ``done``, pointers, elements of accumulators."""


@dataclass
class LoopState:
    """What a loop finds in the scope around it, and what it changes there."""

    emission: Emission
    loop: Loop
    scope: Scope = field(init=False)
    accumulators: list[str] = field(init=False)

    def prepare(self) -> None:
        """Make what the body needs from outside; know what it changes there."""
        self.scope = self.emission.scope
        self._force_what_the_body_reads()
        self.accumulators = self._updated_registers()

    def _force_what_the_body_reads(self) -> None:
        statements = [s for s, _ in walk([self.loop])]
        names = {n for s in statements if isinstance(s, Expression) for n in (*s.inputs, s.output)}
        names |= {limit.when for s in statements if isinstance(s, Loop) for limit in s.limits}
        for name, tile in self.scope.registers.items():
            if name in names:
                tile.force(self.scope.counts)

    def _updated_registers(self) -> list[str]:
        """Registers from outside that the body assigns again."""
        assigned = {e.output for e in expressions([self.loop])}
        return [name for name in self.scope.registers if name in assigned]

    def elements(self, scope: Scope) -> Carried:
        """The elements of the accumulators as they are in a scope."""
        return {
            f"{name} {tuple(index.values())}": scope.registers[name].at(index)
            for name in self.accumulators
            for index in scope.registers[name].indices(self.scope.counts)
        }

    def enter(self, scope: Scope, state: Carried) -> None:
        """Make a state the current one of a scope."""
        for port in self.loop.pieces[0].ports:
            scope.pointers[port.tensor] = state[f"pointer {port.tensor}"]
        for name in self.accumulators:
            tile = scope.registers[name]
            values = {
                tuple(index.values()): state[f"{name} {tuple(index.values())}"]
                for index in tile.indices(self.scope.counts)
            }
            scope.registers[name] = replace(tile, made=values, splats={}, operands=())

    def merge(self, one: Carried, from_one: ir.Block, two: Carried, from_two: ir.Block) -> Carried:
        """The state after either of two blocks, in the block where they meet."""
        merged: Carried = {}
        for slot, value in one.items():
            if value is two[slot]:
                merged[slot] = value
                continue
            phi = self.emission.builder.phi(value.type)
            phi.add_incoming(value, from_one)
            phi.add_incoming(two[slot], from_two)
            merged[slot] = phi
        return merged
