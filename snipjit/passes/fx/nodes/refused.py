"""Refusals on their way: raised where a reason is found, caught where it becomes a Refusal."""

from __future__ import annotations


class RefusedError(Exception):
    """Carries a reason from where it is found to where it becomes a Refusal; never leaves fx/."""


class NoProductError(RefusedError):
    """Of a softmax without a product of scores above it or one with values below it."""
