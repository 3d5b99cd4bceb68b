"""TargetMachine: what a pass or the emitter may ask of the CPU, one row an instruction set."""

from __future__ import annotations

import os
from dataclasses import dataclass

from snipjit.errors import OptionError


@dataclass(frozen=True)
class TargetMachine:
    """One instruction set as the compiler sees it.

    lanes       f32 elements of a vector register
    registers   vector registers; a tile's accumulators, one row of operands and one broadcast fit
    tile        (rows, vectors) of a register tile of a product: rows are broadcast elements
    task_vectors  most vectors of the lanes axis in one task
    block       elements of a streamed axis in one block; and where lanes are columns ...
    column_block  ... which are read once and leave little behind
    few_rows    at how many rows lanes are columns; more of them lie in lanes themselves
    row_tile    rows of a register tile whose lanes are columns; its product has ...
    column_vectors  ... as many vectors of columns
    task_rows   most rows of a row axis in one task, where lanes are columns
    chunk       least elements of a streamed axis that are a task of their own
    unroll      elements of a contracted axis in one iteration of a product
    pairs       element types whose products are summed two by two
    tiles       registers of 16 rows of 64 bytes, which multiply pairs; 0 for none. A product takes
    tile_rows   rows of its result in ...
    tile_vectors  ... and so many vectors
    features    LLVM features the row needs, and the host must have
    disabled    LLVM features switched off
    """

    name: str
    lanes: int
    registers: int
    tile: tuple[int, int]
    task_vectors: int
    block: int
    few_rows: int = 24
    row_tile: int = 4
    column_vectors: int = 8
    column_block: int = 512
    task_rows: int = 8
    chunk: int = 512
    unroll: int = 4
    pairs: tuple[str, ...] = ()
    tiles: int = 0
    tile_rows: int = 32
    tile_vectors: int = 2
    features: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()

    @property
    def llvm_features(self) -> str:
        """The feature string of LLVM's target machine."""
        return ",".join([f"+{name}" for name in self.features] + [f"-{n}" for n in self.disabled])


_AVX512 = ("avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl")

ROWS: tuple[TargetMachine, ...] = (
    TargetMachine(
        "amx-bf16", lanes=16, registers=32, tile=(8, 3), task_vectors=12, block=128, few_rows=10,
        pairs=("bf16",), tiles=8, features=(*_AVX512, "avx512bf16", "amx-tile", "amx-bf16"),
        disabled=("prefer-256-bit",),
    ),
    TargetMachine(
        "avx512-bf16", lanes=16, registers=32, tile=(8, 3), task_vectors=12, block=128,
        pairs=("bf16",), features=(*_AVX512, "avx512bf16"), disabled=("prefer-256-bit",),
    ),
    TargetMachine(
        "avx512", lanes=16, registers=32, tile=(8, 3), task_vectors=12, block=128,
        features=_AVX512, disabled=("prefer-256-bit",),
    ),
    TargetMachine(
        "avx2", lanes=8, registers=16, tile=(4, 3), task_vectors=12, block=128, few_rows=16,
        features=("avx2", "fma", "f16c", "bmi2"), disabled=("avx512f",),
    ),
    TargetMachine("portable", lanes=4, registers=16, tile=(4, 2), task_vectors=12, block=128,
                  few_rows=8),
)  # fmt: skip


def rows_for(host_features: frozenset[str]) -> list[TargetMachine]:
    """The rows a host with these LLVM features can run, best first."""
    return [row for row in ROWS if host_features.issuperset(row.features)]


def select(host_features: frozenset[str], name: str | None = None) -> TargetMachine:
    """The row to compile for: ``name``, or ``SNIPJIT_TARGET``, or the best that the host runs.

    Raises OptionError for a row that does not exist or that the host cannot run.
    """
    name = name or os.environ.get("SNIPJIT_TARGET") or None
    usable = rows_for(host_features)
    if name is None:
        return usable[0]
    for row in usable:
        if row.name == name:
            return row
    names = ", ".join(row.name for row in usable)
    raise OptionError(
        f"target {name!r} does not exist or does not run here; this host has: {names}"
    )
