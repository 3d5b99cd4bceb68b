"""Constants, intrinsics and polynomials as IR text."""

from __future__ import annotations

from llvmlite import ir

from snipjit.passes.llvm.arithmetic import fma, polynomial
from snipjit.passes.llvm.vector_ir import (
    F32,
    F64,
    I32,
    constant,
    element_of,
    intrinsic,
    number_of,
    with_element,
)
from snipjit.target.target_machine import TARGETS

VECTOR = ir.VectorType(F32, 4)


def builder_of(*types: ir.Type) -> tuple[ir.IRBuilder, ir.Function]:
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), "f")
    return ir.IRBuilder(function.append_basic_block()), function


def test_vector_constants_print_as_splats() -> None:
    assert str(constant(VECTOR, 1.0).get_reference()).startswith("splat (float 0x3ff0")
    assert constant(ir.VectorType(I32, 4), -1).get_reference() == "splat (i32 -1)"


def test_number_of_sees_constants_only() -> None:
    _, function = builder_of(F32)
    assert number_of(constant(VECTOR, 0.5)) == 0.5
    assert number_of(constant(F32, 0.5)) == 0.5
    assert number_of(function.args[0]) is None


def test_shapes() -> None:
    assert with_element(VECTOR, I32) == ir.VectorType(I32, 4)
    assert with_element(F32, I32) == I32
    assert element_of(VECTOR) == element_of(F32) == F32


def test_intrinsics_are_declared_once_for_each_type() -> None:
    builder, function = builder_of(VECTOR, F64)
    intrinsic(builder, "llvm.fabs", function.args[0])
    intrinsic(builder, "llvm.fabs", function.args[0])
    intrinsic(builder, "llvm.fabs", function.args[1])
    text = str(builder.module)
    assert text.count('declare <4 x float> @"llvm.fabs.v4f32"') == 1
    assert text.count('declare double @"llvm.fabs.f64"') == 1


def test_fma_only_where_the_cpu_has_it() -> None:
    for row in TARGETS:
        builder, function = builder_of(VECTOR)
        x = function.args[0]
        name = fma(builder, row, x, x, x).callee.name
        assert name == ("llvm.fma.v4f32" if "fma" in row.features else "llvm.fmuladd.v4f32")


def test_a_polynomial_is_one_fma_a_power() -> None:
    builder, function = builder_of(VECTOR)
    polynomial(builder, TARGETS[0], function.args[0], (1.0, 2.0, 3.0, 4.0))
    assert len(builder.block.instructions) == 3
