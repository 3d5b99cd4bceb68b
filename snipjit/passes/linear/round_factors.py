"""RoundFactors: what a product of pairs takes from registers is rounded to pairs before it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.ir.linear_ir import Expression, LinearIR, Loop, Statement, ValueType
from snipjit.passes.base import Pass
from snipjit.target.target_machine import TargetMachine


@dataclass(frozen=True)
class RoundFactors(Pass):
    """Round the computed factors of products of pairs, as the model does, to its element type.

    Before:  %o = brgemm %p %v %o {over=(n), pairs=n} : f32[e m]            with %v of bf16
    After:   %p.bf16 = to_bf16 %p : bf16[n m] pairs n
             %o = brgemm %p.bf16 %v %o {over=(n), pairs=n} : f32[e m]
    """

    target: TargetMachine

    def run(self, lir: LinearIR) -> LinearIR:
        """Round in every body."""
        types = {e.output: e.type for e in lir.expressions()}
        if self.target.pairs:
            self._descend(lir.body, types)
        return lir

    def _descend(self, body: list[Statement], types: dict[str | None, ValueType]) -> None:
        result: list[Statement] = []
        rounded: dict[tuple[str, str], str] = {}
        for statement in body:
            if isinstance(statement, Loop):
                for piece in statement.pieces:
                    self._descend(piece.body, types)
            if isinstance(statement, Expression) and "pairs" in statement.attrs:
                pairs = statement.attrs["pairs"]
                for name in statement.inputs[:2]:
                    if name in types and (name, pairs) not in rounded:
                        rounding = self._round(name, types[name], pairs)
                        result.append(rounding)
                        rounded[name, pairs] = rounding.output or name
                factors = (rounded.get((name, pairs), name) for name in statement.inputs[:2])
                inputs = (*factors, *statement.inputs[2:])
                statement = replace(statement, inputs=inputs)
            result.append(statement)
        body[:] = result

    def _round(self, name: str, type: ValueType, pairs: str) -> Expression:
        (dtype,) = self.target.pairs
        return Expression(
            f"to_{dtype}", f"{name}.{dtype}", (name,), ValueType(dtype, type.axes, pairs)
        )
