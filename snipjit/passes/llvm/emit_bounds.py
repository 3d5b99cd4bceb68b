"""Bounds: before its first task a worker looks through all indices that the kernel loads by.

So no task reads or writes anything where one of them is no row of its tensor. All workers look, at
the same time, and come to the same end; the slot ``fault`` tells the caller.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from snipjit.ir.linear_ir import LinearIR
from snipjit.passes.llvm.emission import POINTER, Emission
from snipjit.passes.llvm.vector_ir import I1, I8, I64


def bounds(lir: LinearIR) -> list[tuple[str, str]]:
    """The inputs that are indices, each with an axis that they are of."""
    loads = [e for e in lir.expressions() if e.op == "load"]
    source = {e.output: e.inputs[0] for e in loads}
    found = [(source[name], e.attrs["axis"]) for e in loads for name in e.operands]
    return list(dict.fromkeys(found))


def emit_bounds(emission: Emission, begin: ir.Block, leave: ir.Block) -> ir.Block:
    """Blocks that go on to ``begin`` where all indices are in bounds; the first one of them.

    Before:  entry: … br next_task
    After:   entry: … br looks.ids                     looks.ids: … ; br found, fault, next_task
    """
    for tensor, axis in reversed(bounds(emission.lir)):
        begin = _look(emission, tensor, axis, begin, leave)
    return begin


def _look(emission: Emission, tensor: str, axis: str, begin: ir.Block, leave: ir.Block) -> ir.Block:
    function = begin.function
    first, fault = (function.append_basic_block(f"{name}.{tensor}") for name in ("looks", "fault"))
    builder = ir.IRBuilder(first)
    pointer = emission.field(f"data.{tensor}", POINTER)
    found = _any_outside(emission, builder, (pointer, tensor, axis), emission.tensors[tensor].axes)
    builder.cbranch(found, fault, begin)
    builder.position_at_end(fault)
    builder.store(ir.Constant(I64, 1), emission.field_address(builder, "fault"))
    builder.branch(leave)
    return first


def _any_outside(
    emission: Emission, builder: ir.IRBuilder, where: tuple[ir.Value, str, str], axes: Sequence[str]
) -> ir.Value:
    """Whether an element of a tensor, from an address on, is no index: a loop for each axis."""
    pointer, tensor, of = where
    if not axes:
        element = ir.IntType(emission.tensors[tensor].element.bits)
        number = builder.load(pointer, typ=element, align=element.width // 8)
        wide = builder.sext(number, I64) if element != I64 else number
        return builder.icmp_unsigned(">=", wide, emission.field(f"size.{of}"))
    axis, *rest = axes
    before, size = builder.block, emission.field(f"size.{axis}")
    head, body, behind = (
        builder.append_basic_block(f"{tensor}.{axis}.{name}") for name in ("head", "body", "end")
    )
    builder.branch(head)
    builder.position_at_end(head)
    number, place, found = (builder.phi(type) for type in (I64, POINTER, I1))
    builder.cbranch(builder.icmp_signed("<", number, size), body, behind)
    builder.position_at_end(body)
    outside = builder.or_(found, _any_outside(emission, builder, (place, tensor, of), rest))
    further = builder.gep(place, [emission.stride(tensor, axis)], source_etype=I8)
    steps = builder.add(number, ir.Constant(I64, 1)), further, outside
    starts = ir.Constant(I64, 0), pointer, ir.Constant(I1, 0)
    for phi, start, step in zip((number, place, found), starts, steps, strict=True):
        phi.add_incoming(start, before)
        phi.add_incoming(step, builder.block)
    builder.branch(head)
    builder.position_at_end(behind)
    return found
