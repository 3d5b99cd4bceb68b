"""What is legal with claims in LinearIR: each task takes the next one once."""

from __future__ import annotations

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Loop, is_kind
from snipjit.ir.verify.linear_loops import fault


def check_claims(lir: LinearIR) -> None:
    """Raise VerificationError where a task might claim none, or more than one."""
    found: list[Loop] = []
    for statement, loops in lir.walk():
        if not isinstance(statement, Expression) or statement.op != "claim":
            continue
        axes = statement.attrs["axes"]
        inside = tuple(loop.axis for loop in loops if is_kind(loop, "for"))
        tasks = [loop.axis for loop in loops if loop.parallel]
        if not inside or axes != inside or len(axes) > 2 or len(loops) > len((*tasks, *inside)):
            raise fault(lir, statement, "a claim stands in a loop over panels of a task")
        if axes[-1] not in tasks:
            raise fault(lir, statement, f"tasks have no part of axis {axes[-1]}")
        if any(loop is not loops[-1] for loop in found):
            raise fault(lir, statement, "a task claims one other")
        found.append(loops[-1])
