"""What nodes of graphs call, and what torch knows of an operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch

from snipjit.torch_private.names import Nothing, named

SET_GRAD_ENABLED: Any = named("_C._set_grad_enabled", Nothing())
"""What a Dynamo graph calls where a model changes the grad mode."""
ENTER_AUTOCAST: Any = named("amp.autocast_mode._enter_autocast", Nothing())
EXIT_AUTOCAST: Any = named("amp.autocast_mode._exit_autocast", Nothing())
AUTOCAST_REGION: Any = named("ops.higher_order.wrap_with_autocast", Nothing())
CHECKPOINT: Any = named("ops.higher_order.tag_activation_checkpoint", Nothing())
BRANCHES = tuple(
    target
    for name in ("cond", "while_loop", "invoke_subgraph")
    if (target := named(f"ops.higher_order.{name}")) is not None
)
"""Calls of graphs inside the graph that run as they stand where nothing needs gradients."""
ENCODER_LAYER: Any = named("_transformer_encoder_layer_fwd", Nothing())
ENCODER_LAYER_OVERLOAD: Any = named("ops.aten._transformer_encoder_layer_fwd.default", Nothing())
ASSERT_METADATA: Any = named("ops.aten._assert_tensor_metadata.default", Nothing())
PAD: Any = named("_C._nn.pad", torch.nn.functional.pad)
"""What Dynamo makes of ``F.pad``."""
OPERATORS = tuple(home for home in map(named, ("ops.aten", "ops.prims")) if home is not None)
"""The libraries of ATen's operations."""
OpOverload: Any = type(torch.ops.aten.add.Tensor)


OpOverloadPacket: Any = type(torch.ops.aten.add)


def schema_arguments(overload: Any) -> Sequence[Any]:
    """The arguments of an ATen operation: ``name``, ``default_value``, ``alias_info``."""
    return cast(Sequence[Any], overload._schema.arguments)


def written_arguments(target: Any) -> set[tuple[int, str]]:
    """Position and name of the arguments that an operation, or any overload of it, writes to."""
    overloads = [target] if isinstance(target, OpOverload) else []
    if isinstance(target, OpOverloadPacket):
        overloads = [getattr(target, name) for name in target.overloads()]
    return {
        (position, argument.name)
        for overload in overloads
        for position, argument in enumerate(schema_arguments(overload))
        if argument.alias_info and argument.alias_info.is_write
    }


def operation_name(target: Any) -> str:
    """The name of an operation with its library, as ``aten::add.Tensor``; empty for others."""
    if isinstance(target, OpOverload):
        return str(target.name())
    return str(getattr(target, "_qualified_op_name", ""))  # of all its overloads


def has_meta_kernel(operation: str) -> bool:
    """Whether torch can trace an ATen operation; if nobody knows, it can."""
    return _has_kernel(f"aten::{operation}", "Meta") is not False


def _has_kernel(operation: str, key: str) -> bool | None:
    """Whether an operation has a kernel of its own for a dispatch key; None if nobody knows."""
    asked = named("_C._dispatch_has_kernel_for_dispatch_key")
    return None if asked is None else bool(asked(operation, key))


def is_composite_under_autocast(target: Any) -> bool:
    """Whether a function is an ATen operation made of others, of which autocast knows those alone.

    Views and what works in place are not counted: they have no result to take another type.
    """
    if not isinstance(target, OpOverload) or target.is_view or target._schema.is_mutable:
        return False
    return target._can_decompose() and not _has_kernel(target.name(), "AutocastCPU")
