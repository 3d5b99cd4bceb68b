"""Progress: a line on a terminal while many kernels are compiled; nothing anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable, Sized
from time import monotonic
from typing import Protocol, TypeVar

T = TypeVar("T", covariant=True)

PATIENCE = 1.0
"""Seconds before anything is shown."""

_ERASE = "\r\x1b[K"


class _Items(Iterable[T], Sized, Protocol[T]):
    """What can be counted before it is gone through."""


def shown(items: _Items[T], what: str) -> Generator[T, None, None]:
    """The items, one after the other; a terminal tells meanwhile which one is waited for."""
    began, is_shown = monotonic(), False
    try:
        for number, item in enumerate(items, 1):
            if monotonic() - began > PATIENCE and _is_terminal():
                is_shown = True
                _write(f"{_ERASE}snipjit: {what} {number} of {len(items)}")
            yield item
    finally:
        if is_shown:
            _write(_ERASE)


def _is_terminal() -> bool:
    """Whether standard error is a terminal that can erase a line."""
    if os.environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError, OSError):  # None, an object of a program's own, closed
        return False


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
