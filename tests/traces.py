"""FX graphs as Dynamo makes them, without Dynamo: each node run on fake tensors when written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)

from snipjit.torch_private import python_dispatcher

Target = Callable[..., Any] | str


class Trace:
    """A graph under construction; ``dynamic`` makes the sizes of its inputs symbols.

    Sizes of 0 and 1 are never symbols, and equal sizes share one, as in Dynamo's traces.
    """

    def __init__(self, dynamic: bool = False) -> None:
        self.graph = fx.Graph()
        self.inputs: list[Tensor] = []
        self._mode = _symbolic() if dynamic else _STATIC
        self._dynamic = dynamic

    def input(self, tensor: Tensor, static: Sequence[int] = ()) -> fx.Node:
        """A placeholder for a tensor; the dims of ``static`` keep their size."""
        node = self.graph.placeholder(f"arg{len(self.inputs)}")
        node.meta["example_value"] = self._fake(node.name, tensor, static)
        self.inputs.append(tensor)
        return node

    def _fake(self, name: str, tensor: Tensor, static: Sequence[int]) -> Tensor:
        if not self._dynamic:
            return self._mode.from_tensor(tensor)
        kinds = [
            DimDynamic.STATIC if dim in static else DimDynamic.DUCK for dim in range(tensor.dim())
        ]
        context: Any = StatelessSymbolicContext(dynamic_sizes=kinds)
        source: Any = torch._dynamo.source.ConstantSource(name)
        return self._mode.from_tensor(tensor, symbolic_context=context, source=source)

    def __call__(self, target: Target, *args: Any, **kwargs: Any) -> fx.Node:
        """A call of a function, or of the method of a name."""
        create = self.graph.call_method if isinstance(target, str) else self.graph.call_function
        node = create(target, args, kwargs)  # type: ignore[arg-type]
        own_args, own_kwargs = fx.node.map_arg((args, kwargs), _value)
        node.meta["example_value"] = self._run(target, own_args, own_kwargs)
        return node

    def _run(self, target: Target, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        # As the backend runs what it writes: without it some functions fix symbolic sizes.
        dispatcher = python_dispatcher() if self._dynamic else nullcontext()
        with torch.no_grad(), self._mode, dispatcher:
            if isinstance(target, str):
                return getattr(args[0], target)(*args[1:], **kwargs)
            return target(*args, **kwargs)

    def module(self, *results: fx.Node) -> fx.GraphModule:
        """The graph with its results."""
        self.graph.output(results)
        self.graph.lint()
        return fx.GraphModule({}, self.graph)


def _symbolic() -> FakeTensorMode:
    return FakeTensorMode(shape_env=ShapeEnv(duck_shape=True, specialize_zero_one=True))


_STATIC = FakeTensorMode()
"""Shared: it remembers what operations make of fake tensors."""


def _value(node: fx.Node) -> Any:
    return node.meta["example_value"]
