"""Checks of a program's inputs against what export has found out about them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind

from snipjit.errors import InputError

Check = Callable[[Any, dict[str, int]], None]
"""Raises InputError for a value that does not fit; reads and binds the symbols of sizes."""


def input_checks(exported: ExportedProgram) -> list[Check]:
    """One check for each user input, from the exported metadata."""
    ranges = exported.range_constraints
    nodes = (node for node in exported.graph.nodes if node.op == "placeholder")
    return [
        _constant_check(node.name, spec.arg.value)
        if isinstance(spec.arg, ConstantArgument)
        else _check(node.name, node.meta.get("val"), ranges)
        for node, spec in zip(nodes, exported.graph_signature.input_specs, strict=True)
        if spec.kind == InputKind.USER_INPUT
    ]


def _constant_check(name: str, constant: Any) -> Check:
    """The check of an input that is no tensor: export has made it part of the program."""

    def check(value: Any, sizes: dict[str, int]) -> None:
        if type(value) is not type(constant) or value != constant:
            raise InputError(
                f"input {name!r} is {value!r}: the program was exported for {constant!r}"
            )

    return check


def _check(name: str, example: Any, ranges: Any) -> Check:
    """The check of one input: dtype, device, rank, static sizes, ranges and equal symbols."""
    if not isinstance(example, torch.Tensor):
        return lambda value, sizes: None
    dtype, rank = example.dtype, example.dim()
    dims = [_Size.of(size, ranges) for size in example.shape]

    def check(value: Any, sizes: dict[str, int]) -> None:
        if not isinstance(value, torch.Tensor):
            raise InputError(f"input {name!r} is a {type(value).__name__}: pass a tensor")
        if value.layout is not torch.strided or value.is_nested:
            layout = "nested" if value.is_nested else value.layout
            raise InputError(f"input {name!r} is {layout}: pass a strided tensor")
        if value.dtype != dtype or value.dim() != rank or value.device.type != "cpu":
            raise InputError(
                f"input {name!r} is {value.dtype} of rank {value.dim()} on {value.device}; "
                f"the program takes {dtype} of rank {rank} on cpu"
            )
        for number, (size, dim) in enumerate(zip(value.shape, dims, strict=True)):
            if (accepted := dim.problem(size, sizes)) is not None:
                raise InputError(
                    f"dim {number} of input {name!r} has size {size}; accepted: {accepted}"
                )

    return check


@dataclass(frozen=True)
class _Size:
    """What a dim may have: ``factor · symbol + offset``, the symbol from ``low`` to ``high``.

    The size is ``offset`` where the factor is 0.
    """

    symbol: str
    factor: int
    offset: int
    low: int
    high: float

    @staticmethod
    def of(size: Any, ranges: Any) -> _Size:
        """What export has found out about a dim; any size if it is nothing as simple."""
        if isinstance(size, int):
            return _Size("", 0, size, 0, 0)
        expression = size.node.expr
        symbols = list(expression.free_symbols)
        if len(symbols) == 1:
            (symbol,) = symbols
            offset = expression.subs(symbol, 0)
            factor = expression.subs(symbol, 1) - offset
            bounds = ranges.get(symbol)
            if bounds is not None and (expression - (factor * symbol + offset)).expand() == 0:
                low, high = int(bounds.lower), float(bounds.upper)
                return _Size(str(symbol), int(factor), int(offset), low, high)
        return _Size("", 1, 0, 0, math.inf)

    def problem(self, size: int, symbols: dict[str, int]) -> str | None:
        """What is accepted instead of a size; binds the symbol if nothing has before."""
        if not self.factor:
            return f"{self.offset}" if size != self.offset else None
        value, rest = divmod(size - self.offset, self.factor)
        bound = symbols.setdefault(self.symbol, value) if self.symbol and not rest else value
        if rest or not self.low <= value <= self.high:
            low, high = sorted(self.factor * x + self.offset for x in (self.low, self.high))
            steps = f" in steps of {abs(self.factor)}" if abs(self.factor) != 1 else ""
            hint = " (an export must allow 1: see dynamic_shapes)" if size == 1 else ""
            return f"{low:.0f} to {high:.0f}{steps}{hint}"
        return f"{self.factor * bound + self.offset}" if bound != value else None
