"""Refusal: why a piece of a model stays as it was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """A candidate that kept its original nodes: the node it starts from, and why.

    pattern      what would have been taken: ``"attention"``, ``"linear"``
    is_expected  whether it surprises nobody: a softmax over classes, a layer of float64
    place        where that is in the model: the module's path, the file and the line
    """

    node: str
    reason: str
    pattern: str = "attention"
    is_expected: bool = False
    place: str = ""

    def __str__(self) -> str:
        return f"{self.pattern} at {self.place or self.node}: {self.reason}"
