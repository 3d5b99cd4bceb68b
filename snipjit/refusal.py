"""Refusal: why a piece of a model stays as it was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """A candidate that kept its original nodes: the node it starts from, and why.

    is_attention  whether there were products on both sides, and not a softmax over classes, say
    """

    node: str
    reason: str
    is_attention: bool = True

    def __str__(self) -> str:
        return f"{self.node}: {self.reason}"
