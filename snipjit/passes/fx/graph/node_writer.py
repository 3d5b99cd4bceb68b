"""Writes calls into an FX graph with the values that tracing would have left on them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from snipjit.passes.fx.nodes.traced import form, same, value
from snipjit.torch_private import (
    ENTER_AUTOCAST,
    EXIT_AUTOCAST,
    python_dispatcher,
)

Target = Callable[..., Any] | str


class NodeWriter:
    """Inserts calls before ``place``; called like the function that a node is to call.

    A function is a ``call_function``, a method name a ``call_method``. Each node carries the fake
    value of its call, with shapes as symbolic as those of its arguments, under the key that the
    graph uses (``example_value`` of Dynamo, ``val`` of an exporter); its name begins with that of
    ``place``. ``nodes`` are all that were written, in graph order.

    Fake values are slow to make, and layers are alike: writers that share ``values`` give calls of
    the same form one value. The written nodes are read by nothing that works in place.
    """

    def __init__(self, place: fx.Node, values: dict[Hashable, Any]) -> None:
        self.place = place
        self.nodes: list[fx.Node] = []
        self._values = values
        self._key = "val" if "val" in place.meta else "example_value"
        self._autocast = _autocast_at(place)

    def __call__(self, target: Target, *args: Any, **kwargs: Any) -> fx.Node:
        """One call, and its node."""
        own_args, own_kwargs = fx.node.map_arg((args, kwargs), value)
        state = (torch.is_grad_enabled(), self._autocast)
        key = (target, state, form(own_args), form(own_kwargs))
        if key not in self._values:
            self._values[key] = _run(target, own_args, own_kwargs, self._autocast)
        op = "call_method" if isinstance(target, str) else "call_function"
        name = f"{self.place.name}_{getattr(target, '__name__', target)}"
        with self.place.graph.inserting_before(self.place):
            node = self.place.graph.create_node(op, target, args, kwargs, name)
        node.meta[self._key] = self._values[key]
        for told in ("stack_trace", "nn_module_stack"):
            if told in self.place.meta:
                node.meta[told] = self.place.meta[told]
        self.nodes.append(node)
        return node


def _autocast_at(place: fx.Node) -> torch.dtype | None:
    """What autocast converts to where a node stands, None where it is off."""
    entered: list[tuple[Any, ...]] = []
    for node in place.graph.nodes:
        if node is place:
            break
        if node.target is ENTER_AUTOCAST:
            entered.append(node.args)
        elif node.target is EXIT_AUTOCAST:
            entered.pop()
    for device, dtype, enabled, *_ in reversed(entered):
        if device == "cpu":
            return (dtype or torch.get_autocast_dtype("cpu")) if enabled else None
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None


def _run(
    target: Target, args: tuple[Any, ...], kwargs: dict[str, Any], autocast: torch.dtype | None
) -> Any:
    shape = _SHAPES[target](*args) if target in _SHAPES and autocast is None else None
    if shape is not None:
        return _new(shape, args)
    with torch.autocast("cpu", autocast, enabled=autocast is not None, cache_enabled=False):
        # Without the Python dispatcher some functions, pad among them, would fix symbolic sizes.
        with python_dispatcher():
            if isinstance(target, str):
                return getattr(args[0], target)(*args[1:], **kwargs)
            return target(*args, **kwargs)


def _new(shape: Any, args: tuple[Any, ...]) -> Tensor:
    """A contiguous tensor with what else the first of ``args`` is."""
    found: Tensor = args[0].new_empty(shape)
    asked = any(isinstance(argument, Tensor) and argument.requires_grad for argument in args)
    return found.requires_grad_() if asked and torch.is_grad_enabled() else found


def _of_first(source: Tensor, *_: Any) -> Any:
    return source.shape


def _of_linear(source: Tensor, weight: Tensor, *_: Any) -> Any:
    return (*source.shape[:-1], weight.shape[0])


def _of_matmul(left: Tensor, right: Tensor) -> Any:
    return (*left.shape[:-1], right.shape[-1])


def _of_sum(left: Tensor, right: Tensor) -> Any:
    """None where one operand may stretch the other."""
    alike = left.dim() == right.dim() and all(map(same, left.shape, right.shape))
    return left.shape if alike else None


_SHAPES: dict[Target, Callable[..., Any]] = {
    F.linear: _of_linear,
    F.scaled_dot_product_attention: lambda query, key, values, *_: _of_matmul(query, values),
    F.softmax: _of_first,
    F.layer_norm: _of_first,
    F.relu: _of_first,
    F.gelu: _of_first,
    torch.add: _of_sum,
    torch.mul: _of_first,
    "masked_fill": _of_first,
    "matmul": _of_matmul,
}
"""Shapes of what makes a new, contiguous tensor: an empty one costs a fraction of a fake call.

The operands of products have equal batch dims here, and the second operand of others is a number.
"""
