"""Element types: one row each, with all that is known of one.

Registers hold ``f32``, ``i32``, ``i64`` (indices alone, so far) and ``i1``. All other types are of
memory alone: loads give their values as the type of registers that holds each of them (``f32`` for
all so far), and what is stored is rounded. How a row's bits become a register's is in
``passes/llvm/emit_convert.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Array = np.ndarray


def _as_it_is(array: Array) -> Array:
    return array


@dataclass(frozen=True)
class ElementType:
    """One element type.

    name      in both IRs
    kind      what its numbers are
    bits      of an element in memory
    lowest    the least finite number; ``largest`` is the greatest
    torch     the name of torch's dtype
    register  the element type in which registers hold its values
    round     NumPy: the nearest values of the type, in the floating-point type that an array has
    paired    whether some CPUs multiply two neighbours at once
    """

    name: str
    kind: Literal["float", "integer", "truth"]
    bits: int
    lowest: float
    largest: float
    torch: str
    register: str
    round: Callable[[Array], Array] = _as_it_is
    paired: bool = False

    @property
    def bytes(self) -> int:
        """Bytes of an element in memory."""
        return self.bits // 8

    @property
    def is_narrow(self) -> bool:
        """Whether only memory holds it: registers have its values in another type."""
        return self.register != self.name

    @property
    def is_half(self) -> bool:
        """Whether it is a float of 16 bits: a model that computes in it rounds for want of room."""
        return self.kind == "float" and self.bits == 16

    @property
    def is_quantized(self) -> bool:
        """Whether its numbers stand for others: integers, or floats too short to compute in."""
        return self.kind == "integer" or (self.kind == "float" and self.bits == 8)


def _to_bf16(array: Array) -> Array:
    """The upper half of a float32, plus one where the lower half is above a tie or makes odd."""
    bits = np.atleast_1d(array.astype(np.float32)).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    quiet = (bits | np.uint32(0x00400000)) & np.uint32(0xFFFF0000)
    kept = np.where(np.isnan(np.atleast_1d(array)), quiet, rounded)
    return kept.astype(np.uint32).view(np.float32).reshape(array.shape)


def _to_float8(digits: int, least: int, largest: float, beyond: float) -> Callable[[Array], Array]:
    """To multiples of what the last of some binary digits is worth, ties to even.

    ``2^least`` is the least normal number; for what is above the largest stands ``beyond``, signed.
    """

    def round(array: Array) -> Array:
        _, exponent = np.frexp(array)
        unit = np.exp2(np.maximum(exponent - 1, least) - digits).astype(array.dtype)
        with np.errstate(over="ignore"):
            rounded = np.rint(array / unit) * unit
        over = np.abs(rounded) > largest
        return np.asarray(np.where(over, np.copysign(array.dtype.type(beyond), array), rounded))

    return round


def _to_integers(lowest: int, largest: int) -> Callable[[Array], Array]:
    """What follows the point is cut off, as in torch; beyond the ends stands the end, 0 for NaN."""

    def round(array: Array) -> Array:
        wide = np.asarray(array, np.float64)
        return np.asarray(np.trunc(np.clip(np.where(np.isnan(wide), 0, wide), lowest, largest)))

    return round


_F32, _BF16, _F16 = 3.4028234663852886e38, 3.3895313892515355e38, 65504.0
_E4M3FN, _E5M2 = _to_float8(3, -6, 448, 448), _to_float8(2, -14, 57344, np.inf)

_ROWS = (
    ElementType("f32", "float", 32, -_F32, _F32, "float32", "f32"),
    ElementType("bf16", "float", 16, -_BF16, _BF16, "bfloat16", "f32", _to_bf16, paired=True),
    ElementType("f16", "float", 16, -_F16, _F16, "float16", "f32", lambda x: x.astype(np.float16)),
    ElementType("f8e4m3fn", "float", 8, -448, 448, "float8_e4m3fn", "f32", _E4M3FN),
    ElementType("f8e5m2", "float", 8, -57344, 57344, "float8_e5m2", "f32", _E5M2),
    ElementType("i8", "integer", 8, -128, 127, "int8", "f32", _to_integers(-128, 127)),
    ElementType("u8", "integer", 8, 0, 255, "uint8", "f32", _to_integers(0, 255)),
    ElementType("i1", "truth", 8, 0, 1, "bool", "i1"),
    ElementType(
        "i32", "integer", 32, -(2**31), 2**31 - 1, "int32", "i32", _to_integers(-(2**31), 2**31 - 1)
    ),
    ElementType(
        "i64", "integer", 64, -(2**63), 2**63 - 1, "int64", "i64", _to_integers(-(2**63), 2**63 - 1)
    ),
)

ELEMENT_TYPES: dict[str, ElementType] = {row.name: row for row in _ROWS}
"""By name. Another row is added with ``operations.add_element_type``, which casts know too."""

PAIRED = next(row.name for row in _ROWS if row.paired)
"""The one type of pairs, so far."""


class Typed:
    """What has an element type, by name."""

    dtype: str

    @property
    def element(self) -> ElementType:
        """The row of its element type."""
        return ELEMENT_TYPES[self.dtype]


def round_to(dtype: str, array: Array) -> Array:
    """The nearest values of an element type, in the floating-point type that the array has."""
    array = np.asarray(array)
    row = ELEMENT_TYPES[dtype]
    if not row.is_narrow:
        return array
    wide = array.dtype if array.dtype.kind == "f" else np.dtype(np.float32)
    return row.round(array.astype(wide)).astype(wide)
