"""The element types of values: how many bytes an element has in memory."""

from __future__ import annotations

BYTES = {"f32": 4, "i1": 1, "i32": 4}
"""Bytes of an element of each type."""
