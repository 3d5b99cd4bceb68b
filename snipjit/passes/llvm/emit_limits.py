"""Limits of loops: what an iteration leaves of the work along another axis."""

from __future__ import annotations

from llvmlite import ir

from snipjit.ir.exact_integers import FARTHEST
from snipjit.ir.loop_limits import Limit
from snipjit.passes.llvm.emission import Emission, Scope
from snipjit.passes.llvm.vector_ir import F32, I64, intrinsic

_FAR = 2**40


def emit_limit(emission: Emission, limit: Limit, scope: Scope, step: int, rest: ir.Value) -> None:
    """Shorten the work left of another axis; nothing may be left.

    The iteration covers ``step`` elements of the loop's axis, of which ``rest`` are left.
    """
    builder, zero = emission.builder, ir.Constant(I64, 0)
    work, ahead = scope.work[limit.axis], _ahead(emission, limit, scope)
    if limit.sense == "from":
        inside = builder.icmp_signed(">", work, ahead)
        left = builder.select(inside, work, zero)
    else:
        left = _clamped(builder, builder.add(ahead, minimum(builder, rest, step)), work)
    scope.work[limit.axis] = _if_asked(emission, limit, left, work)


def emit_range(
    emission: Emission, limits: list[Limit], scope: Scope, step: int, work: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Where a loop begins, in whole steps, and its work amount, by the limits of its own axis."""
    builder, begin = emission.builder, ir.Constant(I64, 0)
    for limit in limits:
        ahead = _ahead(emission, limit, scope)
        if limit.sense == "upto":
            extent = scope.work[limit.of] if limit.of else ir.Constant(I64, 1)
            end = _clamped(builder, builder.add(ahead, extent), work)
            work = _if_asked(emission, limit, end, work)
        else:
            first = _if_asked(emission, limit, _clamped(builder, ahead, work), begin)
            begin = builder.select(builder.icmp_signed(">", first, begin), first, begin)
    if not isinstance(begin, ir.Constant):
        begin = builder.sub(begin, builder.urem(begin, ir.Constant(I64, step)))
    return begin, work


def _ahead(emission: Emission, limit: Limit, scope: Scope) -> ir.Value:
    """How far behind the beginning of the limited axis the first element of the limit lies."""
    builder, zero = emission.builder, ir.Constant(I64, 0)
    first = scope.index[limit.of] if limit.of else zero
    ahead = builder.add(first, _offset(emission, limit))
    return builder.sub(ahead, scope.index.get(limit.axis, zero))


def minimum(builder: ir.IRBuilder, value: ir.Value, bound: ir.Value | int) -> ir.Value:
    """The smaller of two numbers."""
    other = ir.Constant(I64, bound) if isinstance(bound, int) else bound
    return builder.select(builder.icmp_signed("<", value, other), value, other)


def _clamped(builder: ir.IRBuilder, value: ir.Value, most: ir.Value) -> ir.Value:
    """The number, or 0, or ``most``."""
    zero, value = ir.Constant(I64, 0), minimum(builder, value, most)
    return builder.select(builder.icmp_signed(">", value, zero), value, zero)


def _if_asked(emission: Emission, limit: Limit, cut: ir.Value, whole: ir.Value) -> ir.Value:
    """The first number if the limit holds, else the second."""
    if not limit.when:
        return cut
    holds = emission.scope.registers[limit.when].at({})
    return emission.builder.select(holds, cut, whole)


def _offset(emission: Emission, limit: Limit) -> ir.Value:
    """The offset, made once at the head of the kernel; far away if a scalar is out of bounds."""
    total: ir.Value = ir.Constant(I64, limit.offset)
    if not (limit.plus or limit.minus):
        return total
    slot = f"offset {limit}"
    if slot not in emission.loaded:
        head, upto = emission.entry, limit.sense == "upto"
        inside: ir.Value = ir.Constant(ir.IntType(1), 1)
        for name in limit.plus:
            number, bounded = _rounded(emission, name, up=upto)
            total, inside = head.add(total, number), head.and_(inside, bounded)
        for name in limit.minus:
            number, bounded = _rounded(emission, name, up=not upto)
            total, inside = head.sub(total, number), head.and_(inside, bounded)
        far = ir.Constant(I64, _FAR if upto else -_FAR)
        emission.loaded[slot] = head.select(inside, total, far)
    return emission.loaded[slot]


def _rounded(emission: Emission, name: str, up: bool) -> tuple[ir.Value, ir.Value]:
    """A scalar as an integer, and whether it is within bounds; NaN is not."""
    head, number = emission.entry, emission.field(f"scalar.{name}", F32)
    size = intrinsic(head, "llvm.fabs", number)
    bounded = head.fcmp_ordered("<=", size, ir.Constant(F32, float(FARTHEST)))
    number = head.select(bounded, number, ir.Constant(F32, 0.0))
    # Conversion cuts off: one more where that fell on the wrong side.
    cut = head.fptosi(number, I64)
    back = head.sitofp(cut, F32)
    wrong = head.fcmp_ordered("<" if up else ">", back, number)
    one = head.zext(wrong, I64)
    return (head.add if up else head.sub)(cut, one), bounded
