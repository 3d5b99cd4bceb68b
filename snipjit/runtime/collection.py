"""Pauses of Python's garbage collection, for as long as much is made of which little is garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """No garbage collection meanwhile: each looks at all objects that torch keeps alive, which for
    a whole model takes a tenth of a second."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def collect_new() -> None:
    """Free garbage among the objects that were made lately, without a look at all others."""
    gc.collect(0)
