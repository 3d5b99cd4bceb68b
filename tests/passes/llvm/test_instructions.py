"""Each row of the instructions gives what its meaning says, on the host or emulated."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from snipjit.ir.element_types import round_to
from snipjit.passes.llvm.instructions import INSTRUCTIONS, instruction
from snipjit.passes.llvm.vector_ir import F32, I16, I32
from snipjit.runtime import engine
from snipjit.target.target_machine import TARGETS, TargetMachine
from tests import kernels

Array = np.ndarray[Any, Any]
LANES = 16
TILES = {name for name in INSTRUCTIONS if name.startswith("tile")}
"""What tile registers do is tested by ``test_tiles``: they hold state."""
MEMORY = {np.dtype(np.float32): F32, np.dtype(np.uint16): I16, np.dtype(np.uint32): I32}


def target_of(name: str) -> TargetMachine:
    """A row that has an instruction; one that the host runs, if any does."""
    rows = [row for row in TARGETS if {*INSTRUCTIONS[name].needs}.issubset(row.features)]
    return next((row for row in rows if kernels.is_native(row)), rows[0])


def run(name: str, *operands: Array, result: type[np.generic] = np.float32) -> Array:
    """The instruction of one vector of each operand."""
    target, module = target_of(name), ir.Module("test")
    types = [ir.PointerType()] * (len(operands) + 1)
    kernel = ir.Function(module, ir.FunctionType(ir.VoidType(), types), "kernel")
    builder = ir.IRBuilder(kernel.append_basic_block())
    shapes = [ir.VectorType(MEMORY[array.dtype], len(array)) for array in operands]
    values = [
        builder.load(pointer, typ=shape, align=1)
        for pointer, shape in zip(kernel.args[:-1], shapes, strict=True)
    ]
    text = instruction(target, name, shapes[-1])
    assert text is not None
    builder.store(text(builder, *values), kernel.args[-1], align=1)
    builder.ret_void()
    loaded = engine.load(kernels.object_code(str(module), target), "kernel")
    out = np.empty(4 * LANES, result)
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(types))(loaded.address)
    call(*(array.ctypes.data for array in (*operands, out)))
    return out


def floats(seed: int, scale: float = 4.0) -> Array:
    """A vector of ordinary numbers."""
    return np.random.default_rng(seed).normal(0, scale, LANES).astype(np.float32)


SPECIAL = np.array(
    [np.inf, -np.inf, np.nan, 0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -1.5, 1e-45, -1e-45, 3e38, -3e38, 150,
     -150], np.float32,
)  # fmt: skip


@pytest.mark.parametrize("name", ["round", "floor", "ceil", "fraction"])
@pytest.mark.parametrize("x", [floats(0), SPECIAL], ids=["random", "special"])
def test_of_one_number(name: str, x: Array) -> None:
    with np.errstate(all="ignore"):
        want = INSTRUCTIONS[name].meaning(x).astype(np.float32)
    # The fraction of what is just below 0 is rounded down to just below 1 by some.
    np.testing.assert_allclose(run(name, x)[:LANES], want, rtol=1e-7)


@pytest.mark.parametrize("name", ["scale", "bounded"])
@pytest.mark.parametrize("y", [floats(2), SPECIAL], ids=["random", "special"])
def test_of_two_numbers(name: str, y: Array) -> None:
    x, y = (floats(1), y) if name == "scale" else (y, np.ones(LANES, np.float32))
    with np.errstate(all="ignore"):
        want = INSTRUCTIONS[name].meaning(x, y).astype(np.float32)
    np.testing.assert_allclose(run(name, x, y)[:LANES], want, rtol=1e-7)


def test_fma() -> None:
    a, b, c = floats(3), floats(4), floats(5)
    np.testing.assert_allclose(
        run("fma", a, b, c)[:LANES], INSTRUCTIONS["fma"].meaning(a, b, c), rtol=1e-7
    )


def test_halves() -> None:
    x = floats(6)
    bits = run("narrow f16", x, result=np.uint16)[:LANES]
    want = INSTRUCTIONS["narrow f16"].meaning(x)
    np.testing.assert_array_equal(bits.view(np.float16).astype(np.float32), want)
    np.testing.assert_array_equal(run("widen f16", bits)[:LANES], want)


def pairs(seed: int) -> tuple[Array, Array]:
    """Pairs of bf16 numbers, and their bits."""
    numbers = round_to("bf16", np.concatenate([floats(seed), floats(seed + 1)])).astype(np.float32)
    upper = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    return numbers.reshape(LANES, 2), upper.view(np.uint32)


def test_products_of_pairs() -> None:
    (a, a_bits), (b, b_bits), c = pairs(7), pairs(9), floats(11)
    want = INSTRUCTIONS["dot pairs"].meaning(a, b, c)
    np.testing.assert_allclose(run("dot pairs", a_bits, b_bits, c)[:LANES], want, rtol=1e-5)


def test_two_vectors_are_rounded() -> None:
    first, second = floats(12), floats(13)
    bits = run("round two", first, second, result=np.uint16)[: 2 * LANES]
    got = (bits.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(got, INSTRUCTIONS["round two"].meaning(first, second))


def test_each_instruction_is_tested() -> None:
    names: list[str] = ["round", "floor", "ceil", "fraction", "scale", "bounded", "fma"]
    names += ["narrow f16", "widen f16", "dot pairs", "round two"]
    assert {*names, *TILES} == set(INSTRUCTIONS)


@pytest.mark.parametrize("has", [lambda row: row.lanes == 16, lambda row: row.name == "portable"])
def test_a_target_has_what_its_features_say(has: Callable[[TargetMachine], bool]) -> None:
    row = next(row for row in TARGETS if has(row))
    full, half = ir.VectorType(F32, 16), ir.VectorType(F32, 8)
    assert (instruction(row, "scale", full) is not None) == (row.lanes == 16)
    assert instruction(row, "scale", half) is None
