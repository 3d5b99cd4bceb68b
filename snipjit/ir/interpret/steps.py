"""What loads of inputs compute of what memory holds, in NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from snipjit.ir.axis_arrays import align
from snipjit.ir.element_types import Array
from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.tensors import Tensor

Held = tuple[tuple[str, ...], Array]
"""Axes, and an array over them."""


def loaded(inputs: Iterable[Tensor], held: Mapping[str, Held]) -> dict[str, Held]:
    """By the names of the inputs that are loaded with functions: what these give."""
    found: dict[str, Held] = {}
    for tensor in inputs:
        axes, array = held[tensor.name]
        for op, name in tensor.steps:
            own, operand = held[name]
            array = ELEMENTWISE[op].numpy(array, align(operand, own, axes))
        if tensor.steps:
            found[tensor.name] = axes, array
    return found
