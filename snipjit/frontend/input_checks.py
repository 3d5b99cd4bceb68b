"""Checks of a program's inputs against what export has found out about them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind

from snipjit.errors import InputError
from snipjit.frontend.size_guards import size_guards
from snipjit.torch_private import dispatches, expression

Check = Callable[[Any, dict[Any, int]], None]
"""Raises InputError for a value that does not fit; reads and binds the symbols of sizes."""


class InputChecks:
    """What export has found out about the inputs of a program, as checks of each call.

    First each input by itself: type, rank, sizes that are fixed, have a range, or occur twice; then
    sizes that follow from several others; last what export's tracing took for granted of sizes,
    such as the branches of ``if q.size(1) * q.size(2) > 100``.
    """

    def __init__(self, exported: ExportedProgram) -> None:
        ranges = exported.range_constraints
        nodes = [node for node in exported.graph.nodes if node.op == "placeholder"]
        specs = exported.graph_signature.input_specs
        inputs = [
            (node.name, spec.arg, node.meta.get("val"))
            for node, spec in zip(nodes, specs, strict=True)
            if spec.kind == InputKind.USER_INPUT
        ]
        self._checks: list[Check] = []
        self._compound: list[_Compound] = []
        for number, (name, arg, example) in enumerate(inputs):
            if isinstance(arg, ConstantArgument):
                self._checks.append(_constant_check(name, arg.value))
            else:
                self._checks.append(_check(name, example, ranges))
                self._compound += _compound(number, name, example, ranges)
        self._guards = size_guards(exported)

    def __call__(self, values: Sequence[Any], named: Mapping[str, Any]) -> None:
        """Raise InputError unless the inputs, flat and by name, are as the program takes them."""
        sizes: dict[Any, int] = {}
        for check, value in zip(self._checks, values, strict=True):
            check(value, sizes)
        for compound in self._compound:
            compound.check(values, sizes)
        self._guards.check(values, named)


def _constant_check(name: str, constant: Any) -> Check:
    """The check of an input that is no tensor: export has made it part of the program."""

    def check(value: Any, sizes: dict[str, int]) -> None:
        if type(value) is not type(constant) or value != constant:
            raise InputError(
                f"input {name!r} is {value!r}: the program was exported for {constant!r}"
            )

    return check


def _check(name: str, example: Any, ranges: Any) -> Check:
    """The check of one input by itself."""
    if isinstance(example, torch.SymInt | int) and not isinstance(example, bool):
        return _integer_check(name, _Size.of(example, ranges))
    if not isinstance(example, torch.Tensor):
        return lambda value, sizes: None
    dtype, rank = example.dtype, example.dim()
    dims = [_Size.of(size, ranges) for size in example.shape]

    def check(value: Any, sizes: dict[Any, int]) -> None:
        if not isinstance(value, torch.Tensor):
            raise InputError(f"input {name!r} is a {type(value).__name__}: pass a tensor")
        if value.layout is not torch.strided or value.is_nested:
            layout = "nested" if value.is_nested else value.layout
            raise InputError(f"input {name!r} is {layout}: pass a strided tensor")
        if dispatches(value):
            kind = type(value).__name__
            raise InputError(f"input {name!r} is a {kind}: pass a plain tensor")
        if value.dtype != dtype or value.dim() != rank or value.device.type != "cpu":
            raise InputError(
                f"input {name!r} is {value.dtype} of rank {value.dim()} on {value.device}; "
                f"the program takes {dtype} of rank {rank} on cpu"
            )
        for number, (size, dim) in enumerate(zip(value.shape, dims, strict=True)):
            if (accepted := dim.problem(size, sizes)) is not None:
                raise _wrong_size(number, name, size, accepted)

    return check


def _integer_check(name: str, number: _Size) -> Check:
    """The check of an integer that the program takes as it takes a size."""

    def check(value: Any, sizes: dict[Any, int]) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"input {name!r} is a {type(value).__name__}: pass an int")
        if (accepted := number.problem(value, sizes)) is not None:
            raise InputError(f"input {name!r} is {value}; accepted: {accepted}")

    return check


def _wrong_size(number: int, name: str, size: int, accepted: str) -> InputError:
    return InputError(f"dim {number} of input {name!r} has size {size}; accepted: {accepted}")


@dataclass(frozen=True)
class _Size:
    """What a dim may have: ``factor · symbol + offset``, the symbol from ``low`` to ``high``.

    The size is ``offset`` where the factor is 0.
    """

    symbol: Any
    factor: int
    offset: int
    low: int
    high: float

    @staticmethod
    def of(size: Any, ranges: Any) -> _Size:
        """What export has found out about a dim; any size if it follows from several others."""
        if isinstance(size, int):
            return _Size(None, 0, size, 0, 0)
        found = expression(size)
        symbols = list(found.free_symbols)
        if not symbols:  # made static while tracing
            return _Size(None, 0, int(found), 0, 0)
        if len(symbols) == 1:
            (symbol,) = symbols
            offset = found.subs(symbol, 0)
            factor = found.subs(symbol, 1) - offset
            bounds = ranges.get(symbol)
            if bounds is not None and (found - (factor * symbol + offset)).expand() == 0:
                low, high = int(bounds.lower), float(bounds.upper)
                return _Size(symbol, int(factor), int(offset), low, high)
        return _Size(None, 1, 0, 0, math.inf)

    @property
    def is_any(self) -> bool:
        """Whether nothing is known of the dim by itself."""
        return bool(self.factor) and self.symbol is None

    def problem(self, size: int, symbols: dict[Any, int]) -> str | None:
        """What is accepted instead of a size; binds the symbol if nothing has before."""
        if not self.factor:
            return f"{self.offset}" if size != self.offset else None
        value, rest = divmod(size - self.offset, self.factor)
        bound = value if self.symbol is None or rest else symbols.setdefault(self.symbol, value)
        if rest or not self.low <= value <= self.high:
            low, high = sorted(self.factor * x + self.offset for x in (self.low, self.high))
            steps = f" in steps of {abs(self.factor)}" if abs(self.factor) != 1 else ""
            hint = " (an export must allow 1: see dynamic_shapes)" if size == 1 else ""
            return f"{low:.0f} to {high:.0f}{steps}{hint}"
        return f"{self.factor * bound + self.offset}" if bound != value else None


@dataclass(frozen=True)
class _Compound:
    """A dim whose size follows from the symbols of other dims, such as their product."""

    number: int
    name: str
    dim: int
    expression: Any

    def check(self, values: Sequence[Any], symbols: dict[Any, int]) -> None:
        """Raise InputError for another size; without one where a symbol stands alone nowhere."""
        if not symbols.keys() >= self.expression.free_symbols:
            return
        wanted, size = int(self.expression.subs(symbols)), values[self.number].shape[self.dim]
        if size != wanted:
            raise _wrong_size(self.dim, self.name, size, f"{wanted}")


def _compound(number: int, name: str, example: Any, ranges: Any) -> list[_Compound]:
    """The dims of an input that ``_Size`` cannot say all of."""
    if not isinstance(example, torch.Tensor):
        return []
    sizes: list[Any] = list(example.shape)
    return [
        _Compound(number, name, dim, expression(size))
        for dim, size in enumerate(sizes)
        if _Size.of(size, ranges).is_any
    ]
