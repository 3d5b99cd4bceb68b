"""Calls that dequantize, as exported programs have them: ``quantized_decomposed.dequantize_*``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import fx

from snipjit.passes.fx.lift.layouts import view_to
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.traced import Size, normal_dim, tensor
from snipjit.torch_private import operation_name

_LIMITS = "quant_min quant_max dtype"
_ARGUMENTS = {
    "dequantize_per_tensor": f"input scale zero_point {_LIMITS}",
    "dequantize_per_channel": f"input scales zero_points axis {_LIMITS}",
    "dequantize_per_channel_group": f"input scales zero_points {_LIMITS} group_size",
}
"""By operation: its arguments, whose limits dequantizing does not read."""


@dataclass(frozen=True)
class DequantizeCall:
    """One call: ``(weight - zero) * scale``, of a channel along ``axis``, or of ``group`` columns.

    A zero that is None is 0.
    """

    weight: fx.Node
    scale: Any
    zero: Any
    axis: int | None = None
    group: int | None = None


def dequantize_call(node: fx.Node) -> DequantizeCall | None:
    """A node as a call that dequantizes; None for any other."""
    library, _, name = operation_name(node.target).partition("::")
    if library != "quantized_decomposed" or name.partition(".")[0] not in _ARGUMENTS:
        return None
    names = _ARGUMENTS[name.partition(".")[0]].split()
    given: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    scale = given.get("scale", given.get("scales"))
    zero = given.get("zero_point", given.get("zero_points"))
    return DequantizeCall(given["input"], scale, zero, given.get("axis"), given.get("group_size"))


def dequantize(
    call: DequantizeCall, writer: SubgraphWriter, value: str, operand: Callable[[Any], str]
) -> str:
    """The value of a call in f32, for that of its weight."""
    shape = tensor(call.weight).shape
    dims = writer.types[value].dims
    sizes: list[Size] = [*shape]
    if call.group is not None:  # which torch says divides the last dim
        sizes = [shape[0], shape[-1] // call.group, call.group]
        value = view_to(writer, value, writer.axes.regroup(dims, sizes))
    for op, of in (("sub", call.zero), ("mul", call.scale)):
        if of is not None:
            value = writer.op(op, value, _aligned(call, writer, operand(of), sizes))
    return value if call.group is None else view_to(writer, value, dims)


def _aligned(call: DequantizeCall, writer: SubgraphWriter, value: str, sizes: list[Size]) -> str:
    """A scale or a zero with dims of size 1 where it is the same for all elements."""
    if call.group is not None:
        dims = writer.axes.regroup(writer.types[value].dims, sizes[:-1])
        value = view_to(writer, value, dims)
        return writer.insert_dim(value, 2)
    if call.axis is not None:
        for _ in range(len(sizes) - 1 - normal_dim(call.axis, len(sizes))):
            value = writer.insert_dim(value, len(writer.types[value].dims))
    return value
