"""Programs: a few lines of calls on named values, as models write them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snipjit.passes.fx import note_state
from tests.traces import Trace

HOMES: dict[str, Any] = {"torch": torch, "F": F, "operator": operator, "inf": math.inf}


@dataclass(frozen=True)
class Ref:
    """A value of the program by its name."""

    name: str

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Kind:
    """An element type: ``own`` is the model's, which float64 takes the place of in the oracle."""

    name: str

    def __repr__(self) -> str:
        return self.name if self.name.startswith("torch.") else f"torch.{self.name}"


@dataclass(frozen=True)
class Line:
    """``out = target(*args, **kwargs)``; a target without a home is a method."""

    out: str
    target: str
    args: tuple[Any, ...]
    kwargs: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        words = [repr(arg) for arg in self.args]
        words += [f"{name}={value!r}" for name, value in self.kwargs]
        if "." in self.target:
            return f"{self.out} = {self.target}({', '.join(words)})"
        return f"{self.out} = {words[0]}.{self.target}({', '.join(words[1:])})"

    def reads(self) -> list[str]:
        """The names of the values it takes."""
        return [ref.name for ref in _refs((self.args, [value for _, value in self.kwargs]))]


@dataclass(frozen=True)
class Input:
    """A tensor: its shape, element type, memory order, and how its numbers are drawn.

    A ``weight`` is the model's own, and of known sizes in every trace; of others ``static`` dims.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    order: tuple[int, ...]
    content: str = "normal"
    static: tuple[int, ...] = (-1,)

    @property
    def is_weight(self) -> bool:
        """Whether it is the model's own."""
        return self.content == "weight"

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)} order {self.order} {self.content}"


@dataclass(frozen=True)
class Program:
    """Inputs, lines in order, and the values that are returned; ``fuse`` is the option for it."""

    inputs: tuple[Input, ...]
    lines: tuple[Line, ...]
    results: tuple[str, ...]
    notes: frozenset[str] = field(default_factory=frozenset)
    fuse: tuple[str, ...] = ("attention",)

    def __str__(self) -> str:
        head = f"def model({', '.join(given.name for given in self.inputs)}):"
        body = [f"    {line}" for line in self.lines]
        end = f"    return {', '.join(self.results)}"
        return "\n".join([*(f"# {given}" for given in self.inputs), head, *body, end])

    def run(self, tensors: Iterable[Tensor], wide: bool = False) -> tuple[Tensor, ...]:
        """By PyTorch; ``wide`` computes in float64 whatever the model converts to."""
        values: dict[str, Any] = dict(zip(self.names(), tensors, strict=True))

        def value(ref: Ref) -> Any:
            return values[ref.name]

        for line in self.lines:
            args, kwargs = _filled(line, value, wide)
            values[line.out] = function(line.target)(*args, **kwargs)
        return tuple(values[name] for name in self.results)

    def trace(self, tensors: Iterable[Tensor], dynamic: bool) -> torch.fx.GraphModule:
        """The graph that Dynamo would make of it, or nearly so."""
        trace = Trace(dynamic)
        nodes: dict[str, Any] = {}
        for given, tensor in zip(self.inputs, tensors, strict=True):
            static = range(tensor.dim()) if given.is_weight else given.static
            nodes[given.name] = trace.input(tensor, static=[dim % tensor.dim() for dim in static])
            if given.is_weight:
                note_state([nodes[given.name]])
        for line in self.lines:
            args, kwargs = _filled(line, lambda ref: nodes[ref.name], wide=False)
            target: Any = line.target if "." not in line.target else function(line.target)
            if line.target.startswith("operator.") and all(isinstance(arg, int) for arg in args):
                nodes[line.out] = target(*args)
                continue
            node = trace(target, *args, **kwargs)
            value = node.meta["example_value"]
            # Dynamo writes sizes that it knows as numbers.
            nodes[line.out] = value if isinstance(value, int) else node
        return trace.module(*(nodes[name] for name in self.results))

    def names(self) -> list[str]:
        """The names of the inputs."""
        return [given.name for given in self.inputs]

    def pruned(self) -> Program:
        """Without lines whose value nothing reads, and inputs likewise."""
        needed, lines = {*self.results}, list[Line]()
        for line in reversed(self.lines):
            if line.out in needed or line.target.endswith("_"):
                lines.insert(0, line)
                needed.update(line.reads())
        inputs = tuple(given for given in self.inputs if given.name in needed)
        return replace(self, inputs=inputs, lines=tuple(lines))


class Model(torch.nn.Module):
    """A program as a module with its weights, for Dynamo and torch.export."""

    def __init__(self, program: Program, tensors: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.call = source_function(program)
        own = [t for t, of in zip(tensors, program.inputs, strict=False) if of.is_weight]
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(t, False) for t in own)

    def forward(self, *tensors: Tensor) -> Any:
        """The results in a tuple."""
        return self.call(*self.weights, *tensors)


def source_function(program: Program) -> Callable[..., Any]:
    """The program compiled from its Python text."""
    text = str(program).replace("return ", "return (") + ",)"
    names: dict[str, Any] = dict(HOMES)
    exec(compile(text, "<fuzz>", "exec"), names)
    found: Callable[..., Any] = names["model"]
    return found


def function(target: str) -> Callable[..., Any]:
    """The function of a name; of a method's name a function that calls it."""
    if "." not in target:
        return lambda first, *args, **kwargs: getattr(first, target)(*args, **kwargs)
    home, *path = target.split(".")
    found: Callable[..., Any] = HOMES[home]
    for name in path:
        found = getattr(found, name)
    return found


def _filled(
    line: Line, value: Callable[[Ref], Any], wide: bool
) -> tuple[list[Any], dict[str, Any]]:
    def fill(item: Any) -> Any:
        if isinstance(item, Ref):
            return value(item)
        if isinstance(item, Kind):
            floats = item.name in ("float32", "bfloat16", "float16")
            return torch.float64 if wide and floats else getattr(torch, item.name)
        if isinstance(item, tuple | list):
            return type(item)(map(fill, item))
        return item

    return [fill(arg) for arg in line.args], {name: fill(v) for name, v in line.kwargs}


def _refs(item: Any) -> list[Ref]:
    if isinstance(item, Ref):
        return [item]
    if isinstance(item, tuple | list):
        return [ref for part in item for ref in _refs(part)]
    if isinstance(item, Mapping):
        return _refs(list(item.values()))
    return []
