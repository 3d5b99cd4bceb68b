"""Draws Subgraphs for property tests: chains of elementwise functions around products and softmax.

Every value carries the interval its elements lie in, so that a function is only drawn where it is
well conditioned, and its *quantum*: while all elements are exact multiples of it in f32, functions
with jumps (comparisons, rounding) have one right answer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.subgraph import Dim, SubgraphBuilder, TensorType

Draw = Callable[[st.SearchStrategy[Any]], Any]

LIMIT = 100.0
"""Finite intervals stay within this, so that sums and exponentials do."""


@dataclass(frozen=True)
class Value:
    """A value of a Subgraph with what is known of its elements; quantum 0 means inexact."""

    name: str
    type: TensorType
    low: float
    high: float
    quantum: float

    @property
    def exact(self) -> bool:
        """Whether f32 holds every element without rounding."""
        return self.quantum > 0 and max(-self.low, self.high) < self.quantum * 2**20


Domain = tuple[float, float]
ANY = (-math.inf, math.inf)
UNARY: dict[str, Domain] = {
    **dict.fromkeys(("neg", "abs", "tanh", "sigmoid", "erf"), ANY),
    **dict.fromkeys(("floor", "ceil", "round", "sign"), ANY),
    "exp": (-50.0, 3.0),
    "expm1": (-50.0, 3.0),
    "exp2": (-50.0, 4.0),
    "exp4": (-25.0, 2.0),
    "log": (0.1, math.inf),
    "sqrt": (0.1, math.inf),
}
"""Where each function is well conditioned."""
JUMPS = ("floor", "ceil", "round", "sign")
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "larger", "pow")
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
LOGIC = ("and", "or", "xor")
NUMBERS = (0.25, 0.5, 1.0, 1.5, 2.0, -0.5, -1.0, 3.0)
FILLS = (float("-inf"), -3.4028234663852886e38, -1e9)


@dataclass
class ChainBuilder:
    """Adds drawn functions to a Subgraph under construction.

    data   of each parameter: its interval and quantum
    exact  whether parameters hold multiples of their quantum, or any number
    pool   values drawn before, for second uses
    """

    draw: Draw
    exact: bool
    build: SubgraphBuilder = field(default_factory=lambda: SubgraphBuilder("chain"))
    data: dict[str, Domain] = field(default_factory=dict)
    ones: set[str] = field(default_factory=set)
    pool: list[Value] = field(default_factory=list)
    scalars: list[float] = field(default_factory=list)

    def pick(self, *choices: Any) -> Any:
        """One of the choices; the first is the simplest."""
        return self.draw(st.sampled_from(choices))

    # Leaves

    def parameter(
        self, axes: tuple[str, ...], ones: tuple[int, ...] = (), dtype: str = "f32",
        domain: Domain = (-2.0, 2.0), static: dict[str, int] | None = None,
    ) -> Value:  # fmt: skip
        """A tensor with an axis of its own for each dim."""
        name = f"t{len(self.data)}"
        type = TensorType.of(dtype, *(f"{name}{axis}" for axis in axes))
        self.build.axes.update({f"{name}{axis}": size for axis, size in (static or {}).items()})
        self.build.add("parameter", type, name=name, **({"ones": ones} if ones else {}))
        self.ones |= {axis for index in ones for axis in type.dims[index]}
        self.data[name] = domain
        return Value(name, type, *domain, quantum=0.25 if self.exact else 0.0)

    def number(self) -> Value:
        """A scalar of the call or a constant of the structure."""
        number = self.pick(*NUMBERS)
        if self.pick("scalar", "constant") == "scalar":
            name = self.build.add("scalar", TensorType("f32"), name=f"s{len(self.scalars)}")
            self.scalars.append(number)
        else:
            name = self.build.add("constant", TensorType("f32"), value=number)
        return Value(name, TensorType("f32"), number, number, 0.25)

    def side(self, like: Value, dtype: str = "f32", traced: bool = True) -> Value:
        """A tensor that broadcasts against a value: any dims may be 1 or, at the left, missing.

        Dims of size 1 are those of a parameter (if ``traced``), or come from ``unsqueeze``.
        """
        rank = len(like.type.dims)
        missing = self.pick(*range(rank)) if rank > 1 else 0
        dims = like.type.dims[missing:]
        ones = tuple(i for i, dim in enumerate(dims) if not dim or self.pick(False, True))
        axes = tuple(str(i) for i in range(rank - missing))
        domain = self.pick((-2.0, 2.0), (0.5, 2.0)) if dtype == "f32" else (0.0, 1.0)
        if traced and ones and all(dims) and self.pick(True, False):
            return self.parameter(axes, ones, dtype, domain)
        kept = tuple(axis for i, axis in enumerate(axes) if i not in ones)
        side = self.parameter(kept, (), dtype, domain)
        for i in ones:
            side = self.unsqueeze(side, i)
        return side

    def unsqueeze(self, x: Value, dim: int) -> Value:
        """A value with one more dim."""
        type = TensorType(x.type.dtype, (*x.type.dims[:dim], (), *x.type.dims[dim:]))
        return replace(x, name=self.build.add("unsqueeze", type, x.name, dim=dim), type=type)

    def other(self, like: Value) -> Value:
        """The second operand of a function."""
        kind = self.pick("side", "number", "again", "self")
        if kind == "number":
            return self.number()
        if kind == "self" or (kind == "again" and not self.pool):
            return like
        return self.pick(*self.pool) if kind == "again" else self.side(like)

    # Functions

    def apply(self, op: str, *operands: Value, interval: Domain, quantum: float = 0.0) -> Value:
        """Add a function; dims align from the right, those of size 1 yield."""
        dims = broadcast([v.type.dims for v in operands], self.ones)
        row = ELEMENTWISE[op].result
        type = TensorType(row or operands[-1].type.dtype, dims)
        name = self.build.add(op, type, *(v.name for v in operands))
        value = Value(name, type, *interval, quantum)
        return value if value.exact else replace(value, quantum=0.0)

    def unary(self, x: Value) -> Value:
        """A function of one operand that is well conditioned on the whole interval."""
        usable = [
            op
            for op, (low, high) in UNARY.items()
            if low <= x.low and x.high <= high and (x.exact or op not in JUMPS)
        ]
        op = self.pick(*usable)
        ends = [float(ELEMENTWISE[op].numpy(np.float64(end))) for end in (x.low, x.high)]
        if op == "abs" and x.low < 0 < x.high:
            ends.append(0.0)
        quantum = x.quantum if op in ("neg", "abs") else 1.0 if op in JUMPS else 0.0
        return self.apply(op, x, interval=(min(ends), max(ends)), quantum=quantum)

    def binary(self, x: Value) -> Value:
        """A function of two operands, in either order, if some function is well conditioned."""
        y = self.other(x)
        a, b = (x, y) if self.pick(True, False) else (y, x)
        images = {op: image(op, a, b) for op in BINARY}
        usable = [op for op, (low, high) in images.items() if -LIMIT <= low <= high <= LIMIT]
        if not usable:
            return x
        op = self.pick(*usable)
        return self.apply(op, a, b, interval=images[op], quantum=_quantum(op, a, b))

    def condition(self, x: Value) -> Value:
        """A boolean that broadcasts against a value."""
        kind = self.pick("side", "not", "logic", *(["comparison"] if x.exact else []))
        if kind == "comparison":
            y = self.other(x)
            y = y if y.exact else self.number()
            return self.apply(self.pick(*COMPARISONS), x, y, interval=(0, 1))
        side = self.side(x, "i1")
        if kind == "logic":
            other = self.side(x, "i1", traced=False)
            return self.apply(self.pick(*LOGIC), side, other, interval=(0, 1))
        return self.apply("not", side, interval=(0, 1)) if kind == "not" else side

    def choice(self, x: Value) -> Value:
        """``where``, or a boolean as a number that is added."""
        condition = self.condition(x)
        if self.pick(True, False):
            y = self.other(x)
            interval = min(x.low, y.low), max(x.high, y.high)
            quantum = _quantum("add", x, y)
            return self.apply("where", condition, x, y, interval=interval, quantum=quantum)
        number = self.apply("to_f32", condition, interval=(0.0, 1.0), quantum=1.0)
        interval, quantum = image("add", x, number), _quantum("add", x, number)
        return self.apply("add", x, number, interval=interval, quantum=quantum)

    def indices(self, x: Value) -> tuple[Value, Value]:
        """The row and column index of each element."""
        found = []
        for position in (-2, -1):
            (axis,) = x.type.dims[position]
            name = self.build.add("iota", TensorType.of("i32", axis), axis=axis)
            found.append(Value(name, TensorType.of("i32", axis), 0.0, LIMIT, 1.0))
        row, column = found
        return self.unsqueeze(row, 1), column

    def slope(self, x: Value) -> Value:
        """Add a multiple of the distance between column and row, as ALiBi does."""
        row, column = self.indices(x)
        distance = self.apply("sub", column, row, interval=(-LIMIT, LIMIT), quantum=1.0)
        steps = self.apply("to_f32", distance, interval=(-LIMIT, LIMIT), quantum=1.0)
        factor = self.number()
        slope = self.apply("mul", steps, factor, interval=(-LIMIT, LIMIT), quantum=0.25)
        interval, quantum = image("add", x, slope), _quantum("add", x, slope)
        return self.apply("add", x, slope, interval=interval, quantum=quantum)

    def mask(self, x: Value) -> Value:
        """Hidden elements get a fill value."""
        fill = self.build.add("constant", TensorType("f32"), value=self.pick(*FILLS))
        hidden = Value(fill, TensorType("f32"), x.low, x.high, x.quantum)
        if self.pick("side", "causal") == "side":
            condition = self.side(x, "i1")
        else:
            row, column = self.indices(x)
            condition = self.apply("le", column, row, interval=(0, 1))
        return self.apply("where", condition, x, hidden, interval=(x.low, x.high))

    def chain(self, x: Value, most: int) -> Value:
        """A value after some functions; it is kept for second uses, and so is the last before."""
        for _ in range(self.draw(st.integers(0, most))):
            self.pool.append(x)
            steps = [self.unary, self.binary, self.choice]
            steps += [self.slope] if x.exact and all(x.type.dims[-2:]) else []
            x = self.pick(*steps)(x)
            assert x.type.dtype == "f32"
        return x


def image(op: str, a: Value, b: Value) -> Domain:
    """The interval of a monotone function of two operands; empty where it is ill conditioned."""
    if op == "div" and b.low < 0.25 and b.high > -0.25:
        return (0.0, -1.0)
    whole = b.low == b.high and b.low in (2.0, 3.0)
    if op == "pow" and not whole and (a.low < 0.25 or max(-b.low, b.high) > 3):
        return (0.0, -1.0)
    corners = [
        float(ELEMENTWISE[op].numpy(np.float64(x), np.float64(y)))
        for x, y in itertools.product((a.low, a.high), (b.low, b.high))
    ]
    corners += [0.0] if whole and a.low < 0 < a.high else []
    return min(corners), max(corners)


def _quantum(op: str, a: Value, b: Value) -> float:
    if not (a.exact and b.exact) or op in ("div", "pow"):
        return 0.0
    return a.quantum * b.quantum if op == "mul" else min(a.quantum, b.quantum)


def broadcast(shapes: list[tuple[Dim, ...]], ones: set[str]) -> tuple[Dim, ...]:
    """The dims of aligned operands: an axis that is not of size 1, else one that is, else none."""
    columns = itertools.zip_longest(*(reversed(dims) for dims in shapes), fillvalue=())
    chosen = [
        max(column, key=lambda dim: bool(dim) + (not ones.issuperset(dim))) for column in columns
    ]
    return tuple(reversed(chosen))
