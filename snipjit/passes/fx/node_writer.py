"""Writes calls into an FX graph with the values that tracing would have left on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx
from torch._dispatch.python import enable_python_dispatcher

from snipjit.passes.fx.traced import value


class NodeWriter:
    """Inserts calls before ``place``; called like the function that a node is to call.

    A function is a ``call_function``, a method name a ``call_method``. Each node is run on the fake
    values of its arguments, so that it carries shapes, strides and element types as symbolic as
    theirs, under the key that the graph uses (``example_value`` of Dynamo, ``val`` of an exporter);
    its name begins with that of ``place``.
    ``nodes`` are all that were written, in graph order.
    """

    def __init__(self, place: fx.Node) -> None:
        self.place = place
        self.nodes: list[fx.Node] = []
        self._key = "val" if "val" in place.meta else "example_value"

    def __call__(self, target: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> fx.Node:
        """One call, and its node."""
        values = fx.node.map_arg((args, kwargs), value)
        op = "call_method" if isinstance(target, str) else "call_function"
        name = f"{self.place.name}_{getattr(target, '__name__', target)}"
        with self.place.graph.inserting_before(self.place):
            node = self.place.graph.create_node(op, target, args, kwargs, name)
        node.meta[self._key] = _run(target, *values)
        if "stack_trace" in self.place.meta:
            node.meta["stack_trace"] = self.place.meta["stack_trace"]
        self.nodes.append(node)
        return node


def _run(target: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # Without the Python dispatcher some operations, pad among them, would fix symbolic sizes.
    with enable_python_dispatcher():
        if isinstance(target, str):
            return getattr(args[0], target)(*args[1:], **kwargs)
        return target(*args, **kwargs)
