"""Columns of linear layers whose products have another axis in lanes: a part of ChooseSchedule."""

from __future__ import annotations

from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.operations import kind_of


def column_axis(lir: LinearIR) -> str | None:
    """The columns of linear layers that go by rows."""
    products = [e for e in lir.expressions() if e.op == "brgemm"]
    layers = products and all({*e.inputs[:2]} <= {*lir.tensors} for e in products)
    axis = lir.outputs[0].unit_axis
    return axis if layers and axis not in lir.lanes else None


def converts_factors(lir: LinearIR) -> bool:
    """Whether a factor is of a narrow type: a buffer has what several tiles read converted."""
    return any(lir.tensors[name].element.is_narrow for name in _factors(lir) & {*lir.tensors})


def follow_in_vectors(lir: LinearIR, axis: str) -> bool:
    """Whether what follows products takes whole vectors of an axis that their panels do not.

    That is so if it computes something, and memory has the vectors of all that is read and written,
    so that nothing is packed.
    """
    flat = lir.expressions()
    factors = _factors(lir)
    computes = any(kind_of(e.op) and axis in e.type.axes for e in flat)
    alone = not any(e.op == "reduce" for e in flat) and not converts_factors(lir)
    in_place = all(
        tensor.unit_axis == lir.vector_axis(tensor.axes)
        if name in factors
        else tensor.unit_axis == axis or axis not in tensor.axes
        for name, tensor in lir.tensors.items()
    )
    return computes and alone and in_place and 0 < lir.plans[axis].panel < lir.width


def _factors(lir: LinearIR) -> set[str]:
    return {name for e in lir.expressions() if e.op == "brgemm" for name in e.inputs[:2]}
