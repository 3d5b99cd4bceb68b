"""Plans: what is remembered of the calls with some set of shapes and strides."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Plan = TypeVar("Plan")

SHAPES_KEPT = 1024
"""How many sets of shapes and strides are remembered at least; at most twice as many."""


class Plans(Generic[Key, Plan]):
    """Plans by key; the half that was not used lately goes when there are too many.

    A call looks into ``recent`` itself, and asks ``find`` for what is not there.
    """

    def __init__(
        self, make: Callable[[Key], Plan], kept: Callable[[Key], Key] = lambda key: key
    ) -> None:
        """``make`` makes a plan; ``kept`` gives the key under which it is remembered."""
        self.recent: dict[Key, Plan] = {}
        self._older: dict[Key, Plan] = {}
        self._make, self._kept = make, kept

    def find(self, key: Key) -> Plan:
        """The plan of a key."""
        plan = self.recent.get(key) or self._older.get(key) or self._make(key)
        if len(self.recent) >= SHAPES_KEPT:
            self._older = dict(self.recent)
            self.recent.clear()
        self.recent[self._kept(key)] = plan
        return plan

    def __len__(self) -> int:
        return len(self.recent) + len(self._older)
