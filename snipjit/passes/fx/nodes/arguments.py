"""The arguments of one call by name, as an opened module reads them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx

from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import element_type, literal, tensor, value
from snipjit.torch_private import schema_arguments, true_or_false


class Arguments:
    """Arguments of ``node`` by name; what is asked for in another form than given is refused."""

    def __init__(self, node: fx.Node, values: Mapping[str, Any]) -> None:
        self.node = node
        self._values = values

    @staticmethod
    def of_function(node: fx.Node, function: Callable[..., Any]) -> Arguments:
        """The arguments of a Python function, defaults filled in."""
        bound = inspect.signature(function).bind(*node.args, **node.kwargs)
        bound.apply_defaults()
        return Arguments(node, bound.arguments)

    @staticmethod
    def of_schema(node: fx.Node, overload: Any) -> Arguments:
        """The arguments of an ATen operation, defaults filled in."""
        schema = schema_arguments(overload)
        values = {argument.name: argument.default_value for argument in schema}
        values |= dict(zip(values, node.args, strict=False))
        return Arguments(node, values | node.kwargs)

    def get(self, name: str) -> Any:
        """An argument as it stands in the graph."""
        return self._values[name]

    def floats(self, name: str) -> fx.Node:
        """A tensor of floats on the CPU."""
        found = self.optional_floats(name)
        if found is None:
            raise RefusedError(f"`{self.node.name}` has no {name}; accepted: a tensor")
        return found

    def optional_floats(self, name: str) -> fx.Node | None:
        """A tensor of floats on the CPU, or None."""
        found = self.optional_tensor(name)
        if found is not None and element_type(found) == "i1":
            raise RefusedError(f"`{found.name}`, the {name}, is bool; accepted: floats")
        return found

    def optional_tensor(self, name: str) -> fx.Node | None:
        """A tensor of floats or booleans on the CPU, or None."""
        found = self._values[name]
        if found is None:
            return None
        if not isinstance(found, fx.Node):
            raise RefusedError(f"`{self.node.name}` has {name}={found!r}; accepted: a tensor")
        if tensor(found).is_nested:
            raise RefusedError(f"`{found.name}` is a nested tensor; accepted: padded tensors")
        element_type(found)
        return found

    def size(self, name: str) -> int:
        """An int that is known in the trace."""
        found = self._values[name]
        if (known := literal(found)) is None:
            raise RefusedError(f"`{self.node.name}` has a symbolic {name}; accepted: an int")
        return known

    def flag(self, name: str) -> bool:
        """A literal True or False."""
        found = self._values[name]
        if not isinstance(found, bool):
            raise RefusedError(f"`{self.node.name}` has a computed {name}; accepted: True or False")
        return found

    def is_zero(self, name: str) -> bool:
        """Whether a number is zero; the trace is specialised to a symbol's being zero."""
        found = self._values[name]
        found = value(found) if isinstance(found, fx.Node) else found
        return isinstance(found, int | float | torch.SymFloat) and true_or_false(found == 0)
