"""Every function of the elementwise table, on every target row, against NumPy in f64."""

from __future__ import annotations

import numpy as np
import pytest

from snipjit.ir.operations import ELEMENTWISE
from snipjit.passes.llvm.emit_elementwise import EMITTERS, emitter_of
from tests.passes.llvm.one_function import (
    MACHINES,
    Array,
    Machine,
    floats,
    on_each_machine,
    uniform,
)

SPECIALS = floats(
    0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, -2.5, 2, 3, 1e-40, -1e-40, 1e-30, 3e38, -3.4e38, 88.7, -88.7,
    1e10, -1e10, np.inf, -np.inf, np.nan,
)  # fmt: skip
FIRST, SECOND = (np.ascontiguousarray(x.ravel()) for x in np.meshgrid(SPECIALS, SPECIALS))
INTEGERS = np.array([0, 1, -1, 7, -7, 2**31 - 1, -(2**31), 12345], np.int32)
FALSE_TRUE = np.array([False, False, True, True]), np.array([False, True, False, True])

FLOAT_PAIRS = ("add", "sub", "mul", "div", "larger", "maximum", "minimum")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
BOOLEANS = ("and", "or", "xor", "eq", "ne", "lt", "le", "gt", "ge")
EXACT_UNARY = ("neg", "abs", "sqrt", "sign")


def numpy_of(name: str, *arrays: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(ELEMENTWISE[name].numpy(*arrays))


def test_every_function_has_an_emitter() -> None:
    assert all(emitter_of(op) for op in ELEMENTWISE)
    assert set(EMITTERS) <= set(ELEMENTWISE)


@on_each_machine
def test_operations_on_two_floats(machine: Machine) -> None:
    for name in (*FLOAT_PAIRS, *COMPARISONS, "and", "or", "xor"):
        got, want = machine.run(name, FIRST, SECOND), numpy_of(name, FIRST, SECOND)
        np.testing.assert_array_equal(got, want, err_msg=name)


@on_each_machine
def test_operations_on_one_float(machine: Machine) -> None:
    for name in (*EXACT_UNARY, "not", "to_f32", "to_i1"):
        got, want = machine.run(name, SPECIALS), numpy_of(name, SPECIALS)
        np.testing.assert_array_equal(got, want, err_msg=name)


@on_each_machine
def test_operations_on_integers(machine: Machine) -> None:
    first, second = (np.ascontiguousarray(x.ravel()) for x in np.meshgrid(INTEGERS, INTEGERS))
    for name in ("add", "sub", "mul", "larger", "maximum", "minimum", *COMPARISONS):
        got, want = machine.run(name, first, second), numpy_of(name, first, second)
        np.testing.assert_array_equal(got, want, err_msg=name)
    for name in ("neg", "abs", "sign", "to_f32", "to_i1", "not"):
        got, want = machine.run(name, INTEGERS), numpy_of(name, INTEGERS)
        np.testing.assert_array_equal(got, want, err_msg=name)


@on_each_machine
def test_operations_on_booleans(machine: Machine) -> None:
    for name in BOOLEANS:
        np.testing.assert_array_equal(machine.run(name, *FALSE_TRUE), numpy_of(name, *FALSE_TRUE))
    for name in ("not", "to_f32", "to_i1"):
        np.testing.assert_array_equal(
            machine.run(name, FALSE_TRUE[1]), numpy_of(name, FALSE_TRUE[1])
        )


@on_each_machine
def test_where_chooses_floats_integers_and_booleans(machine: Machine) -> None:
    condition = FIRST > 0
    for dtype in (np.float32, np.int32, np.bool_):
        a, b = uniform(-9, 9, len(FIRST)).astype(dtype), uniform(-9, 9, len(FIRST), 1).astype(dtype)
        np.testing.assert_array_equal(
            machine.run("where", condition, a, b), np.where(condition, a, b)
        )


@on_each_machine
def test_results_have_the_type_of_the_table(machine: Machine) -> None:
    for name, row in ELEMENTWISE.items():
        operands = [floats(0.5)] * row.arity if name != "where" else [*FALSE_TRUE, FALSE_TRUE[0]]
        whole = {"i32": np.int32, "i64": np.int64}
        registers = {"": operands[-1].dtype, "i1": np.bool_, **whole}
        want = registers.get(row.result, np.dtype(np.float32))
        assert machine.run(name, *operands).dtype == want, name


@on_each_machine
def test_no_function_calls_anything(machine: Machine) -> None:
    for name, row in ELEMENTWISE.items():
        types = ["bool", "float32", "float32"] if name == "where" else ["float32"] * row.arity
        instructions = machine.function(name, *types).instructions()
        assert not [word for word in instructions if word.startswith(("call", "jmp"))], name


@pytest.mark.parametrize("name", ["larger", "add", "mul", "sqrt", "div"])
def test_one_instruction_each(name: str) -> None:
    for machine in (machine for machine in MACHINES if machine.lanes > 1):
        types = ["float32"] * ELEMENTWISE[name].arity
        function = machine.function(name, *types)
        arithmetic = [i for i in function.instructions() if "mov" not in i and "zeroupper" not in i]
        assert len(arithmetic) == 2, arithmetic  # and the return
