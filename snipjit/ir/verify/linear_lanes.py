"""What is legal with sums whose lanes are kept apart in LinearIR."""

from __future__ import annotations

from snipjit.ir.expression import Expression
from snipjit.ir.linear_ir import LinearIR, Nest
from snipjit.ir.loop_nest import most
from snipjit.ir.verify.linear_loops import fault


def check_lanes(lir: LinearIR) -> None:
    """Raise VerificationError where a sum in lanes is read as a whole one, or begun as one."""
    apart = {e.output for e in lir.expressions() if "apart" in e.attrs}
    for e, loops in lir.walk():
        if isinstance(e, Expression):
            _check(lir, e, loops, apart)


def _check(lir: LinearIR, e: Expression, loops: Nest, apart: set[str | None]) -> None:
    read = [name for name in e.inputs if name in apart]
    allowed = list(e.inputs) if e.op == "sum_lanes" else []
    if "apart" in e.attrs:
        allowed = list(e.inputs[2:])
        _check_axes(lir, e, loops)
    elif e.output in apart:
        raise fault(lir, e, f"%{e.output} keeps lanes apart elsewhere")
    if read != allowed:
        name = next(n for n in (*e.inputs, "") if (n in read) != (n in allowed))
        kind = "one whose lanes are apart" if name in read else "no sum whose lanes are apart"
        raise fault(lir, e, f"%{name} is {kind}")


def _check_axes(lir: LinearIR, e: Expression, loops: Nest) -> None:
    """Lanes are free for a part of the sum each; a sum begins with nothing in any of them."""
    axis = lir.vector_axis(e.type.axes)
    if axis is not None and (most(lir, axis, loops) or lir.width) >= lir.width:
        raise fault(lir, e, "lanes hold elements of the result: they cannot be kept apart")
    if e.op == "fill" and e.attrs["value"] != 0:
        raise fault(lir, e, "a sum whose lanes are apart begins with 0")
    if e.op == "fma" and (len(e.over) != 1 or e.over[0] not in lir.lanes or "tiles" in e.attrs):
        raise fault(lir, e, "lanes are kept apart of sums along one axis that is in lanes")
