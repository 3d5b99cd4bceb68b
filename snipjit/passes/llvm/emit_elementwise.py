"""How each row of ``ir/operations.py`` becomes LLVM IR: the ``EMITTERS`` table.

An emitter takes the builder, the target row and operands of one shape (float, i1, i32, or vectors
of equal length) and returns the value. No optimisation runs afterwards, so what is emitted is what
runs: as few instructions as the function needs, constants as splats, never a call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

from llvmlite import ir

from snipjit.ir.operations import cast_to
from snipjit.passes.llvm.arithmetic import fma
from snipjit.passes.llvm.emit_convert import from_memory, to_integer, to_memory
from snipjit.passes.llvm.emit_exp import emit_exp, emit_exp2, emit_expm1, emit_sigmoid
from snipjit.passes.llvm.emit_log import emit_log
from snipjit.passes.llvm.emit_pow import emit_pow
from snipjit.passes.llvm.emit_rational import emit_erf, emit_tanh
from snipjit.passes.llvm.emit_round import emit_ceil, emit_floor, emit_round
from snipjit.passes.llvm.vector_ir import (
    F32,
    I1,
    I32,
    I64,
    constant,
    element_of,
    intrinsic,
    with_element,
)
from snipjit.target.target_machine import TargetMachine

Emitter = Callable[..., ir.Value]
"""``(builder, target, *operands) -> value``."""


def _is_float(value: ir.Value) -> bool:
    return bool(element_of(value.type) == F32)


def _arithmetic(float_name: str, int_name: str) -> Emitter:
    """An instruction of IRBuilder: one name for floats, another for integers."""

    def emit(builder: ir.IRBuilder, _: TargetMachine, *operands: ir.Value) -> ir.Value:
        return getattr(builder, float_name if _is_float(operands[0]) else int_name)(*operands)

    return emit


def _compare(builder: ir.IRBuilder, predicate: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """``a predicate b``: NaN differs from everything, i32 is signed, i1 is 0 or 1."""
    if not _is_float(a):
        signed = element_of(a.type) != I1
        return (builder.icmp_signed if signed else builder.icmp_unsigned)(predicate, a, b)
    ordered = predicate != "!="
    return (builder.fcmp_ordered if ordered else builder.fcmp_unordered)(predicate, a, b)


def _comparison(predicate: str) -> Emitter:
    def emit(builder: ir.IRBuilder, _: TargetMachine, a: ir.Value, b: ir.Value) -> ir.Value:
        return _compare(builder, predicate, a, b)

    return emit


def _chosen(predicate: str) -> Emitter:
    """``a`` if it compares so, else ``b``: exactly what x86's vmaxps and vminps do."""

    def emit(builder: ir.IRBuilder, _: TargetMachine, a: ir.Value, b: ir.Value) -> ir.Value:
        return builder.select(_compare(builder, predicate, a, b), a, b)

    return emit


def _extremum(predicate: str) -> Emitter:
    """The same with NaN of either operand kept: a NaN in ``b`` is chosen already."""

    def emit(builder: ir.IRBuilder, _: TargetMachine, a: ir.Value, b: ir.Value) -> ir.Value:
        chosen = builder.select(_compare(builder, predicate, a, b), a, b)
        if not _is_float(a):
            return chosen
        return builder.select(builder.fcmp_unordered("uno", a, a), a, chosen)

    return emit


def _safe(builder: ir.IRBuilder, _: TargetMachine, x: ir.Value) -> ir.Value:
    hidden = builder.fcmp_ordered("==", x, constant(x.type, -inf))
    return builder.select(hidden, constant(x.type, 0.0), x)


def _logical(name: str) -> Emitter:
    def emit(builder: ir.IRBuilder, target: TargetMachine, *operands: ir.Value) -> ir.Value:
        return getattr(builder, name)(*(_to_i1(builder, target, a) for a in operands))

    return emit


def _intrinsic(name: str) -> Emitter:
    def emit(builder: ir.IRBuilder, _: TargetMachine, x: ir.Value) -> ir.Value:
        return intrinsic(builder, name, x)

    return emit


def _abs(builder: ir.IRBuilder, _: TargetMachine, x: ir.Value) -> ir.Value:
    if _is_float(x):
        return intrinsic(builder, "llvm.fabs", x)
    return builder.select(builder.icmp_signed("<", x, constant(x.type, 0)), builder.neg(x), x)


def _sign(builder: ir.IRBuilder, _: TargetMachine, x: ir.Value) -> ir.Value:
    """-1, 0 or 1; NaN of NaN."""
    zero, one, minus_one = (constant(x.type, number) for number in (0, 1, -1))
    if not _is_float(x):
        below = builder.select(builder.icmp_signed("<", x, zero), minus_one, zero)
        return builder.select(builder.icmp_signed(">", x, zero), one, below)
    unit = intrinsic(builder, "llvm.copysign", one, x)
    return builder.select(builder.fcmp_ordered("!=", x, zero), unit, x)


def _where(
    builder: ir.IRBuilder, _: TargetMachine, condition: ir.Value, a: ir.Value, b: ir.Value
) -> ir.Value:
    return builder.select(condition, a, b)


def _to_f32(builder: ir.IRBuilder, _: TargetMachine, x: ir.Value) -> ir.Value:
    shape = with_element(x.type, F32)
    if _is_float(x):
        return x
    if element_of(x.type) == I1:
        return builder.select(x, constant(shape, 1.0), constant(shape, 0.0))
    return builder.sitofp(x, shape)


def _rounded_to(dtype: str, builder: ir.IRBuilder, target: TargetMachine, x: ir.Value) -> ir.Value:
    """The nearest value of a narrow type, still as a float32."""
    bits = to_memory(builder, target, dtype, _to_f32(builder, target, x))
    return from_memory(builder, target, dtype, bits)


def _to_i32(builder: ir.IRBuilder, _: TargetMachine, x: ir.Value) -> ir.Value:
    if _is_float(x):
        return to_integer(builder, x, I32, "fptosi")
    return _resized(builder, x, I32)


def _to_i64(builder: ir.IRBuilder, _: TargetMachine, x: ir.Value) -> ir.Value:
    if _is_float(x):
        return to_integer(builder, x, I64, "fptosi")
    return _resized(builder, x, I64)


def _resized(builder: ir.IRBuilder, x: ir.Value, element: ir.IntType) -> ir.Value:
    """A whole number in other bits: of fewer ones the low ones, of a truth 0 or 1."""
    own, shape = element_of(x.type), with_element(x.type, element)
    if own.width >= element.width:
        return x if own == element else builder.trunc(x, shape)
    return (builder.zext if own == I1 else builder.sext)(x, shape)


def _to_i1(builder: ir.IRBuilder, _: TargetMachine, x: ir.Value) -> ir.Value:
    if element_of(x.type) == I1:
        return x
    return _compare(builder, "!=", x, constant(x.type, 0))


def _exp4(
    builder: ir.IRBuilder, target: TargetMachine, x: ir.Value, precision: str = "f32"
) -> ir.Value:
    return emit_exp2(builder, target, builder.fadd(x, x), precision)


def _fms(
    builder: ir.IRBuilder, target: TargetMachine, a: ir.Value, b: ir.Value, c: ir.Value
) -> ir.Value:
    return fma(builder, target, a, b, builder.fneg(c))


EMITTERS: dict[str, Emitter] = {
    "add": _arithmetic("fadd", "add"),
    "sub": _arithmetic("fsub", "sub"),
    "mul": _arithmetic("fmul", "mul"),
    "div": _arithmetic("fdiv", "sdiv"),
    "larger": _chosen(">"),
    "maximum": _extremum(">"),
    "minimum": _extremum("<"),
    "pow": emit_pow,
    "neg": _arithmetic("fneg", "neg"),
    "abs": _abs,
    "exp": emit_exp,
    "exp2": emit_exp2,
    "exp4": _exp4,
    "fms": _fms,
    "expm1": emit_expm1,
    "log": emit_log,
    "sqrt": _intrinsic("llvm.sqrt"),
    "tanh": emit_tanh,
    "sigmoid": emit_sigmoid,
    "erf": emit_erf,
    "safe": _safe,
    "floor": emit_floor,
    "ceil": emit_ceil,
    "round": emit_round,
    "sign": _sign,
    "eq": _comparison("=="),
    "ne": _comparison("!="),
    "lt": _comparison("<"),
    "le": _comparison("<="),
    "gt": _comparison(">"),
    "ge": _comparison(">="),
    "and": _logical("and_"),
    "or": _logical("or_"),
    "xor": _logical("xor"),
    "not": _logical("not_"),
    "where": _where,
    "to_f32": _to_f32,
    "to_i32": _to_i32,
    "to_i64": _to_i64,
    "to_i1": _to_i1,
}
"""All but the casts to narrow types."""


def emitter_of(op: str) -> Emitter:
    """What emits an elementwise function."""
    if op in EMITTERS:
        return EMITTERS[op]
    to = cast_to(op)
    assert to is not None, op
    return partial(_rounded_to, to.name)
