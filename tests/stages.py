"""Names the pass after which a check failed: one run of a pipeline serves for all its passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from snipjit.passes.base import Pass


@contextmanager
def after(step: Pass) -> Iterator[None]:
    """What fails inside says that it did after ``step``."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"after {step.name}: {error}") from error
