"""Refusals on their way: raised where a reason is found, caught where it becomes a Refusal."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar


class RefusedError(Exception):
    """Carries a reason from where it is found to where it becomes a Refusal; never leaves fx/."""


class ExpectedError(RefusedError):
    """Surprises nobody: of a softmax over classes, which is no attention, or of bf16 weights."""


Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class Remembered(Generic[Key, Found]):
    """A function that is asked once for each key; where it refused, it refuses again."""

    def __init__(self, function: Callable[[Key], Found]) -> None:
        self._function = function
        self._found: dict[Key, Found] = {}
        self._refused: dict[Key, RefusedError] = {}

    def __call__(self, key: Key) -> Found:
        """What the function gives. RefusedError if it refuses."""
        if key in self._refused:
            raise self._refused[key]
        if key not in self._found:
            try:
                self._found[key] = self._function(key)
            except RefusedError as refused:
                self._refused[key] = refused
                raise
        return self._found[key]
