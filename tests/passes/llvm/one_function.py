"""Kernels of one elementwise function each, compiled for any target row and called on arrays."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from snipjit.passes.llvm.emit_elementwise import emitter_of
from snipjit.passes.llvm.vector_ir import F32, I1, I32, I64, constant, element_of, with_element
from snipjit.runtime import engine
from snipjit.target.target_machine import TargetMachine
from tests import kernels
from tests.kernels import TARGETS

I8 = ir.IntType(8)
MEMORY: dict[np.dtype[Any], ir.Type] = {
    np.dtype(np.float32): F32,
    np.dtype(np.int32): I32,
    np.dtype(np.int64): I64,
    np.dtype(np.bool_): I8,
}

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class OneFunction:
    """One elementwise function on one target row, for vectors of ``lanes`` (1: scalars)."""

    name: str
    target: TargetMachine
    lanes: int
    dtypes: tuple[np.dtype[Any], ...]
    constants: dict[int, float] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _emitted(self) -> tuple[str, np.dtype[Any]]:
        module = ir.Module(self.name)
        arguments = [ir.PointerType()] * (len(self.dtypes) + 1)
        kernel = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "kernel")
        builder = ir.IRBuilder(kernel.append_basic_block())
        operands = [self._operand(builder, kernel, index) for index in range(len(self.dtypes))]
        value = emitter_of(self.name)(builder, self.target, *operands, **self.attrs)
        if element_of(value.type) == I1:
            value = builder.zext(value, with_element(value.type, I8))
        builder.store(value, kernel.args[-1], align=1)
        builder.ret_void()
        element = element_of(value.type)
        return str(module), next(dtype for dtype, memory in MEMORY.items() if memory == element)

    def _operand(self, builder: ir.IRBuilder, kernel: ir.Function, index: int) -> ir.Value:
        element = MEMORY[self.dtypes[index]]
        shape = ir.VectorType(element, self.lanes) if self.lanes > 1 else element
        if index in self.constants:
            return constant(shape, self.constants[index])
        value = builder.load(kernel.args[index], typ=shape, align=1)
        return builder.trunc(value, with_element(shape, I1)) if element == I8 else value

    @property
    def assembly(self) -> str:
        """The kernel as assembly text."""
        return engine.assembly(self._emitted[0], self.target)

    def instructions(self) -> list[str]:
        """Mnemonics of the kernel in order."""
        lines = (line.split() for line in self.assembly.splitlines() if line.startswith("\t"))
        return [words[0] for words in lines if words and not words[0].startswith(".")]

    def __call__(self, *arrays: Array) -> Array:
        """The function of every element; arrays are 1-d and equally long."""
        text, dtype = self._emitted
        loaded = engine.load(kernels.object_code(text, self.target), "kernel")
        kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * (len(arrays) + 1))(loaded.address)
        size = len(arrays[0])
        padded = [np.concatenate([a, np.zeros(-size % self.lanes, a.dtype)]) for a in arrays]
        padded.append(np.empty(len(padded[0]), dtype))
        for start in range(0, size, self.lanes):
            kernel(*(array[start:].ctypes.data for array in padded))
        return padded[-1][:size]


@dataclass(frozen=True)
class Machine:
    """A target row with a vector length: its full vectors, or scalars."""

    target: TargetMachine
    lanes: int

    def function(
        self, name: str, *dtypes: str, constants: dict[int, float] | None = None, **attrs: Any
    ) -> OneFunction:
        """The kernel of a function for operands of the given NumPy types."""
        types = tuple(np.dtype(dtype) for dtype in dtypes)
        return OneFunction(name, self.target, self.lanes, types, constants or {}, attrs)

    def run(self, name: str, *arrays: Array, **attrs: Any) -> Array:
        """Compile and call at once."""
        return self.function(name, *(array.dtype.name for array in arrays), **attrs)(*arrays)


MACHINES = [Machine(row, lanes) for row in TARGETS.values() for lanes in (row.lanes, 1)]

on_each_machine = pytest.mark.parametrize(
    "machine", MACHINES, ids=[f"{machine.target.name}x{machine.lanes}" for machine in MACHINES]
)
"""Runs a test on each row that computes f32 differently, with full vectors and with scalars."""


def ulps(got: Array, want: Array) -> Array:
    """The distance of f32 numbers from f64 ones in units in the last place of the nearest f32."""
    unit = np.spacing(np.abs(want).astype(np.float32)).astype(np.float64)
    return np.asarray(np.abs(got.astype(np.float64) - want) / unit)


def floats(*numbers: float) -> Array:
    """An array of f32."""
    return np.array(numbers, np.float32)


def uniform(low: float, high: float, size: int = 20_000, seed: int = 0) -> Array:
    """Seeded uniform f32 numbers."""
    return np.random.default_rng(seed).uniform(low, high, size).astype(np.float32)
