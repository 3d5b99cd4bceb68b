"""TargetMachine: what a pass or the emitter may ask of the CPU, one row an instruction set."""

from __future__ import annotations

from dataclasses import dataclass

from snipjit import config
from snipjit.errors import OptionError


@dataclass(frozen=True)
class TargetMachine:
    """One instruction set as the compiler sees it.

    features   LLVM features that the row needs, and the host must have
    disabled   LLVM features that are switched off
    cpu        LLVM's model of what instructions cost
    lanes      f32 elements of a vector register
    registers  how many vector registers there are
    pairs      element types whose products are summed two by two
    tiles      how many tile registers there are, of 16 rows of 64 bytes, which multiply pairs
    """

    name: str
    lanes: int
    registers: int = 16
    pairs: tuple[str, ...] = ()
    tiles: int = 0
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
        "amx-bf16", lanes=16, registers=32, pairs=("bf16",), tiles=8,
        features=(*_AVX512, "avx512bf16", "amx-tile", "amx-bf16"),
        disabled=("prefer-256-bit",), cpu="x86-64-v4",
    ),
    TargetMachine(
        "avx512-bf16", lanes=16, registers=32, pairs=("bf16",),
        features=(*_AVX512, "avx512bf16"), disabled=("prefer-256-bit",), cpu="x86-64-v4",
    ),
    TargetMachine(
        "avx512", lanes=16, registers=32,
        features=_AVX512, disabled=("prefer-256-bit",), cpu="x86-64-v4",
    ),
    TargetMachine(
        "avx2", lanes=8, features=("avx2", "fma", "f16c", "bmi2"), disabled=("avx512f",),
        cpu="x86-64-v3",
    ),
    TargetMachine("portable", lanes=4),
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
