"""CallScalars: what is computed from constants and scalars of the call alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import Statement
from snipjit.ir.operations import ELEMENTWISE
from snipjit.passes.linear.index_conditions import Definitions

Scalar = float | str
"""A number (a bool where it is one), or the name of a register or scalar that holds it."""


@dataclass
class CallScalars:
    """Reads such values of a kernel, and makes more of them: numbers if all operands are."""

    definitions: Definitions
    made: list[Expression] = field(default_factory=list)
    names: dict[object, str] = field(default_factory=dict)

    def read(self, name: str) -> Scalar | None:
        """The scalar that a value is, or None if it depends on an index or on memory."""
        e = self.definitions.get(name)
        if e is None or e.type.axes:
            return None
        if e.op in ("fill", "scalar"):
            return name if e.op == "scalar" else _number(e.attrs["value"], e.type.dtype)
        operands = [self.read(operand) for operand in e.inputs]
        known = [operand for operand in operands if operand is not None]
        if e.op not in ELEMENTWISE or len(known) < len(operands):
            return None
        return self.apply(e.op, known, e.type.dtype, f"{e.output}.again")

    def apply(self, op: str, operands: list[Scalar], dtype: str, name: str) -> Scalar:
        """What an elementwise function gives for scalars; a new register would have the name."""
        numbers = [operand for operand in operands if not isinstance(operand, str)]
        if len(numbers) == len(operands):
            with np.errstate(all="ignore"):
                typed = [np.bool_(n) if isinstance(n, bool) else np.float32(n) for n in numbers]
                return _number(ELEMENTWISE[op].numpy(*typed).item(), dtype)
        inputs = tuple(self.register(operand) for operand in operands)
        return self._make(op, inputs, dtype, name, {})

    def register(self, scalar: Scalar) -> str:
        """The name of a scalar; a number gets a register."""
        if isinstance(scalar, str):
            return scalar
        dtype = "i1" if isinstance(scalar, bool) else "f32"
        return self._make("fill", (), dtype, f"number.{len(self.made)}", {"value": scalar})

    def needed(self, users: list[Expression]) -> list[Statement]:
        """What was made and is used, directly or by another that is, in order."""
        names = {name for e in users for name in e.inputs}
        kept: list[Statement] = []
        for e in reversed(self.made):
            if e.output in names:
                names.update(e.inputs)
                kept.insert(0, e)
        return kept

    def _make(
        self, op: str, inputs: tuple[str, ...], dtype: str, name: str, attrs: dict[str, Scalar]
    ) -> str:
        made = (op, inputs, dtype, repr(attrs))
        if made not in self.names:
            taken = {*self.names.values()}
            self.names[made] = f"{name}.{len(taken)}" if name in taken else name
            self.made.append(Expression(op, self.names[made], inputs, ValueType(dtype), attrs))
        return self.names[made]


def _number(value: float, dtype: str) -> float:
    return bool(value) if dtype == "i1" else float(value)
