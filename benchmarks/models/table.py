"""The table of models: what the benchmark runs, in the order of its report."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.models import pictures, speech, text
from benchmarks.models.case import Family

FAMILIES: tuple[Family, ...] = (*text.FAMILIES, *speech.FAMILIES, *pictures.FAMILIES)


def names() -> list[str]:
    """What can be asked for: cases, and what the names of several begin with."""
    cases = [case for family in FAMILIES for case in family.cases]
    return list(dict.fromkeys([*(case.split("-")[0] for case in cases), *cases]))


def select(wanted: Sequence[str]) -> list[Family]:
    """The families of some names, each with the cases that are asked for."""
    chosen = [case for family in FAMILIES for case in family.cases if _is_meant(case, wanted)]
    parts = [family.only(chosen) for family in FAMILIES]
    return [part for part in parts if part.cases]


def _is_meant(case: str, wanted: Sequence[str]) -> bool:
    return any(case == name or case.startswith(f"{name}-") for name in wanted)
