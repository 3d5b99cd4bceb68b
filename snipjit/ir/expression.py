"""Expression: one operation of a LinearIR, and the type of what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from snipjit.errors import VerificationError
from snipjit.ir.element_types import Typed
from snipjit.ir.linear_operations import misspelt

MOVES = ("load", "store", "prefetch", "pad")
"""The operations that touch memory, which is their first operand."""


@dataclass(frozen=True)
class ValueType(Typed):
    """Element type and axes of a value; the axes are in the order of ``LinearIR.axes``.

    ``pairs`` is the axis of which an element holds two neighbours.
    """

    dtype: str
    axes: tuple[str, ...] = ()
    pairs: str | None = None


@dataclass(frozen=True)
class Expression:
    """One operation on values and tensors. ``output`` is None for a store.

    Raises VerificationError for an operation or an attribute that does not exist.
    """

    op: str
    output: str | None
    inputs: tuple[str, ...]
    type: ValueType = ValueType("f32")
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (wrong := misspelt(self.op, self.attrs)) is not None:
            raise VerificationError(f"%{self.output}: {wrong}")

    def with_attrs(self, **attrs: Any) -> Expression:
        """The same with other attributes besides."""
        return replace(self, attrs={**self.attrs, **attrs})

    def without(self, name: str) -> Expression:
        """The same without an attribute."""
        return replace(self, attrs={k: v for k, v in self.attrs.items() if k != name})

    @property
    def operands(self) -> tuple[str, ...]:
        """The inputs but for the tensor of a move."""
        return self.inputs[1:] if self.op in MOVES else self.inputs

    @property
    def over(self) -> tuple[str, ...]:
        """The axes this operation sums or combines over."""
        return tuple(self.attrs.get("over", ()))
