"""RoundFactors: what a product of pairs takes from registers is rounded to pairs before it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR, Statement
from snipjit.ir.regions import rewrite
from snipjit.passes.linear.linear_pass import LinearPass
from snipjit.target.target_machine import TargetMachine


@dataclass(frozen=True)
class RoundFactors(LinearPass):
    """Round the computed factors of products of pairs, as the model does, to its element type.

    Before:  %o = brgemm %p %v %o {over=(n), pairs=n} : f32[e m]            with %v of bf16
    After:   %p.bf16 = to_bf16 %p : bf16[n m] pairs n
             %o = brgemm %p.bf16 %v %o {over=(n), pairs=n} : f32[e m]
    """

    target: TargetMachine

    def rewrite(self, lir: LinearIR) -> LinearIR:
        """Round in every body."""
        types = {e.output: e.type for e in lir.expressions()}
        if self.target.pairs:
            lir.body = rewrite(lir.body, lambda body, _: self._rounded(body, types))
        return lir

    def _rounded(
        self, body: list[Statement], types: dict[str | None, ValueType]
    ) -> list[Statement]:
        result: list[Statement] = []
        rounded: dict[tuple[str, str], str] = {}
        for statement in body:
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
        return result

    def _round(self, name: str, type: ValueType, pairs: str) -> Expression:
        (dtype,) = self.target.pairs
        return Expression(
            f"to_{dtype}", f"{name}.{dtype}", (name,), ValueType(dtype, type.axes, pairs)
        )
