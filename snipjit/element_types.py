"""Element types: their bytes in memory, and rounding to those that memory holds in 16 bits.

``bf16`` and ``f16`` are types of memory. Registers hold their values as ``f32``, which is exact;
what is stored is rounded to the nearest, ties to even.
"""

from __future__ import annotations

import numpy as np

BYTES = {"f32": 4, "bf16": 2, "f16": 2, "i1": 1, "i32": 4}
"""Bytes of an element in memory."""

DTYPES = tuple(BYTES)

NARROW = ("bf16", "f16")
"""The types that only memory holds."""

FLOATS = ("f32", *NARROW)

LARGEST = {"f32": 3.4028234663852886e38, "bf16": 3.3895313892515355e38, "f16": 65504.0}
"""The largest finite number of a type; the lowest is its negative."""


def computed_as(dtype: str) -> str:
    """The element type in which registers hold values of a type of memory."""
    return "f32" if dtype in NARROW else dtype


def round_to(dtype: str, array: np.ndarray) -> np.ndarray:
    """The nearest values of an element type, in the floating-point type that the array has."""
    array = np.asarray(array)
    wide = array.dtype if array.dtype.kind == "f" else np.dtype(np.float32)
    if dtype == "bf16":
        return _round_to_bf16(array.astype(np.float32)).astype(wide)
    return array.astype(np.float16).astype(wide) if dtype == "f16" else array


def _round_to_bf16(array: np.ndarray) -> np.ndarray:
    """The upper half of a float32, plus one where the lower half is above a tie or makes odd."""
    bits = np.atleast_1d(array).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    quiet = bits | np.uint32(0x00400000)
    kept = np.where(np.isnan(np.atleast_1d(array)), quiet & np.uint32(0xFFFF0000), rounded)
    return kept.astype(np.uint32).view(np.float32).reshape(array.shape)
