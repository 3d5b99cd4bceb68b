"""Plain data: dataclasses and tuples as JSON holds them, read back by the types they declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def decode(kind: Any, value: Any) -> Any:
    """A value of JSON as the type says: tuples for lists, dataclasses for objects.

    ``kind`` is made of dataclasses, named tuples, tuples, unions, ``str``, ``int`` and ``None``.
    Raises ValueError, naming what it met, where the value has another form.
    """
    if is_dataclass(kind):
        return _decode_fields(kind, value)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _decode_union(parts, value)
    if origin is tuple and isinstance(value, list):
        kinds = parts[:1] * len(value) if parts[1:] == (...,) else parts
        return _decode_items(kinds, value)
    if hasattr(kind, "_fields") and isinstance(value, list):
        return kind(*_decode_items(list(get_type_hints(kind).values()), value))
    if type(value) is kind:
        return value
    raise ValueError(f"{value!r:.40} is no {getattr(kind, '__name__', kind)}")


def _decode_fields(kind: Any, value: Any) -> Any:
    hints = get_type_hints(kind)
    if not isinstance(value, dict) or value.keys() != hints.keys():
        raise ValueError(f"{value!r:.40} has not the fields of {kind.__name__}")
    return kind(**{name: decode(hint, value[name]) for name, hint in hints.items()})


def _decode_union(kinds: Sequence[Any], value: Any) -> Any:
    for kind in kinds:
        try:
            return decode(kind, value)
        except ValueError:
            continue
    raise ValueError(f"{value!r:.40} is none of {len(kinds)} types")


def _decode_items(kinds: Sequence[Any], values: list[Any]) -> tuple[Any, ...]:
    if len(kinds) != len(values):
        raise ValueError(f"{len(values)} items in place of {len(kinds)}")
    return tuple(decode(kind, value) for kind, value in zip(kinds, values, strict=True))
