"""Names below torch that a version may lack, and the versions that were tested."""

from __future__ import annotations

import contextlib
import warnings
from functools import cache
from typing import Any

import torch

LOWEST, HIGHEST = (2, 11), (2, 15)
"""The versions, major and minor, with which the tests have passed; setup.py accepts these."""


@cache
def check_version() -> None:
    """Warn once where torch is newer than any version that was tested."""
    numbers = torch.__version__.split("+")[0].split(".")[:2]
    with contextlib.suppress(ValueError):
        if tuple(map(int, numbers)) > HIGHEST:
            warnings.warn(
                f"torch {torch.__version__} is newer than any that snipjit was tested with (up to "
                f"{HIGHEST[0]}.{HIGHEST[1]})",
                stacklevel=3,
            )


def named(path: str, default: Any = None) -> Any:
    """What a dotted name below torch stands for; the default where there is no such thing."""
    found: Any = torch
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except (AttributeError, RuntimeError):
            return default
    return found


class Nothing:
    """Stands for a function that torch has no more: no node calls it."""
