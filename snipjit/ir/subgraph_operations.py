"""The operations of Subgraph and their attributes; what is legal stands in ``verify/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from snipjit.ir.operations import ELEMENTWISE

Attrs = Mapping[str, Any]
"""Attributes with the types of their values, optional ones after ``?``."""

ATTRS: dict[str, Attrs] = {
    "parameter": {"?ones": tuple, "?block": tuple, "?parts": tuple},
    "scalar": {"?counted": bool},
    "constant": {"value": (int, float)},
    "iota": {"axis": str},
    "gather": {"axis": str},
    "result": {"order": tuple, "?block": tuple, "?parts": tuple},
    "matmul": {},
    "reduce_dims": {"monoid": str, "dims": tuple, "keepdim": bool},
    "softmax": {"dim": int, "?hidden": str, "?rounded": str},
    "sdpa": {"mask": bool, "scale": bool, "causal": bool, "gqa": bool},
    "transpose": {"order": tuple},
    "view": {},
    "unsqueeze": {"dim": int},
    "expand": {},
    "reduce": {"monoid": str, "over": tuple},
    "brgemm": {"over": tuple},
}
"""All but the elementwise functions."""


def attrs_of(op: str) -> Attrs | None:
    """The attributes of an operation; None for one that does not exist."""
    row = ELEMENTWISE.get(op)
    if row is None:
        return ATTRS.get(op)
    return {"?rounded": str} if row.kind == "exponential" else {}


def misspelt(op: str, attrs: Iterable[str]) -> str | None:
    """What no operation or none of its attributes is called; None if all names are known."""
    legal = attrs_of(op)
    if legal is None:
        return f"no operation {op!r} in this form"
    extra = [name for name in attrs if name not in legal and f"?{name}" not in legal]
    return f"no attribute {extra[0]!r} here" if extra else None
