"""TargetMachine: what a pass or the emitter may ask of the CPU, one row an instruction set."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit import config
from snipjit.errors import OptionError


@dataclass(frozen=True)
class TargetMachine:
    """One instruction set as the compiler sees it.

    features        LLVM features that the row needs, and the host must have
    disabled        LLVM features that are switched off
    cpu             LLVM's model of what instructions cost
    lanes           f32 elements of a vector register
    unroll          elements of a contracted axis in one iteration of a product
    pairs           element types whose products are summed two by two

    Rows in lanes (``Schedule.ROWS``):

    tile            (columns, vectors) of the register tile of a product, with columns broadcast
    task_vectors    most vectors of rows in a task
    block           elements of the streamed axis in a block

    Columns in lanes (``Schedule.COLUMNS``):

    few_rows        calls with at most so many rows use it
    row_tile        rows of the register tile of a product, and of a panel
    column_vectors  vectors of columns of the register tile
    task_rows       most rows in a task
    column_block    elements of the streamed axis in a block
    chunk           least elements of the streamed axis in a task of their own

    Tile registers, of 16 rows of 64 bytes, which multiply pairs:

    tiles           how many there are; 0 for none
    tile_rows       columns of a product that they hold at once, as rows of tiles, ...
    tile_vectors    ... and vectors of rows
    """

    name: str
    lanes: int
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
    cpu: str = "x86-64"

    @property
    def llvm_features(self) -> str:
        """The feature string of LLVM's target machine."""
        return ",".join([f"+{name}" for name in self.features] + [f"-{n}" for n in self.disabled])


_AVX512 = ("avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl")

TARGETS: tuple[TargetMachine, ...] = (
    TargetMachine(
        "amx-bf16", lanes=16, tile=(8, 3), task_vectors=12, block=128, few_rows=10,
        pairs=("bf16",), tiles=8, features=(*_AVX512, "avx512bf16", "amx-tile", "amx-bf16"),
        disabled=("prefer-256-bit",), cpu="x86-64-v4",
    ),
    TargetMachine(
        "avx512-bf16", lanes=16, tile=(8, 3), task_vectors=12, block=128,
        pairs=("bf16",), features=(*_AVX512, "avx512bf16"), disabled=("prefer-256-bit",),
        cpu="x86-64-v4",
    ),
    TargetMachine(
        "avx512", lanes=16, tile=(8, 3), task_vectors=12, block=128,
        features=_AVX512, disabled=("prefer-256-bit",), cpu="x86-64-v4",
    ),
    TargetMachine(
        "avx2", lanes=8, tile=(4, 3), task_vectors=12, block=128, few_rows=16,
        features=("avx2", "fma", "f16c", "bmi2"), disabled=("avx512f",), cpu="x86-64-v3",
    ),
    TargetMachine("portable", lanes=4, tile=(4, 2), task_vectors=12, block=128,
                  few_rows=8),
)  # fmt: skip

PORTABLE = TARGETS[-1]
"""Vectors that every host has."""


def rows_for(host_features: frozenset[str]) -> list[TargetMachine]:
    """The rows a host with these LLVM features can run, best first."""
    return [row for row in TARGETS if host_features.issuperset(row.features)]


def select(host_features: frozenset[str], name: str | None = None) -> TargetMachine:
    """The row to compile for: ``name``, or ``SNIPJIT_TARGET``, or the best that the host runs.

    Raises OptionError for a row that does not exist or that the host cannot run.
    """
    name = name or config.target_name()
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
