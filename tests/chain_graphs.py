"""Whole Subgraphs around the chains of ``chains.py``: attention, rows, chains alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import find
from hypothesis import strategies as st

from snipjit.ir.element_types import ELEMENT_TYPES
from snipjit.ir.operations import ELEMENTWISE
from snipjit.ir.subgraph import Subgraph, TensorType
from snipjit.ir.text.subgraph import print_subgraph
from tests.chains import LIMIT, LOGIC, ChainBuilder, Domain, Draw, Value, broadcast, image


def attention(chain: ChainBuilder) -> None:
    """Product, chain, mask, softmax, chain, product, chain; perhaps other results as well."""
    d, e = (chain.pick(None, 8, 1, 5) for _ in range(2))
    q = chain.parameter(("b", "h", "m", "d"), static={"d": d} if d else None)
    k = chain.parameter(("b", "h", "d", "n"), static={"d": d} if d else None)
    if d and chain.pick(False, True):
        q, k = (chained(chain, x, 2) for x in (q, k))
    s = chained(chain, matmul(chain, q, k, depth=d or MOST_DEPTH), 3)
    p = softmax(chain, chain.mask(s) if chain.pick(False, True) else s)
    p = chained(chain, p, 2, pool=[s] if chain.pick(False, True) else [])
    v = chain.parameter(("b", "h", "n", "e"), static={"e": e} if e else None)
    o = chained(chain, replace(matmul(chain, p, v, depth=1), low=-LIMIT, high=LIMIT), 2)
    result(chain, softmax(chain, o) if e and chain.pick(False, True) else o)
    for extra in (p, s):
        if chain.pick(False, False, True):
            result(chain, extra)


def rows(chain: ChainBuilder) -> None:
    """Once or twice: a chain, softmax or a reduction along rows, and a chain with both."""
    x = _source(chain)
    for _ in range(chain.pick(1, 2)):
        x = chained(chain, x, 2)
        pool = [x] if chain.pick(False, True) else []
        kind = chain.pick("softmax", "sum", "max", "min")
        y = softmax(chain, x) if kind == "softmax" else reduction(chain, x, kind)
        x = chained(chain, y, 2, pool=pool)
    result(chain, x)


def elementwise(chain: ChainBuilder) -> None:
    """A chain alone, perhaps of a product."""
    result(chain, chained(chain, _source(chain), 5))


NUMBER = TensorType("f32")
MOST_DEPTH = 9
"""The longest contracted axis of unknown size in a call."""


def _source(chain: ChainBuilder) -> Value:
    if chain.pick(False, True):
        return chain.parameter(("b", "m", "n"), domain=chain.pick((-2.0, 2.0), (0.5, 2.0)))
    d = chain.pick(None, 8, 1, 5)
    static = {"d": d} if d else None
    x = chain.parameter(("b", "m", "d"), static=static)
    w = chain.parameter(("d", "n") if chain.pick(False, True) else ("b", "d", "n"), static=static)
    return matmul(chain, x, w, depth=d or MOST_DEPTH)


def chained(chain: ChainBuilder, x: Value, most: int, pool: list[Value] | None = None) -> Value:
    chain.pool = list(pool or [])
    return chain.chain(x, most)


def matmul(chain: ChainBuilder, a: Value, b: Value, depth: int) -> Value:
    """The product of two values; at most ``depth`` products are summed."""
    low, high = image("mul", a, b)
    batch = broadcast([a.type.dims[:-2], b.type.dims[:-2]], chain.ones)
    type = TensorType("f32", (*batch, a.type.dims[-2], b.type.dims[-1]))
    name = chain.build.add("matmul", type, a.name, b.name)
    return Value(name, type, depth * low, depth * high, a.quantum * b.quantum)


def softmax(chain: ChainBuilder, x: Value) -> Value:
    """Softmax along the last dim."""
    name = chain.build.add("softmax", x.type, x.name, dim=-1)
    return Value(name, x.type, 0.0, 1.0, 0.0)


def reduction(chain: ChainBuilder, x: Value, monoid: str) -> Value:
    """Rows combined, as a dim of size 1."""
    type = TensorType("f32", (*x.type.dims[:-1], ()))
    name = chain.build.add("reduce_dims", type, x.name, monoid=monoid, dims=(-1,), keepdim=True)
    return Value(name, type, -LIMIT, LIMIT, 0.0)


def result(chain: ChainBuilder, x: Value) -> None:
    """A result whose dims are in any memory order."""
    rank = len(x.type.dims)
    order = chain.draw(st.permutations(range(rank))) if chain.pick(False, True) else range(rank)
    chain.build.result(x.name, tuple(order))


@dataclass(frozen=True)
class Drawn:
    """A drawn Subgraph with the values of its scalars and what its parameters may hold."""

    subgraph: Subgraph
    domains: tuple[Domain, ...]
    scalars: tuple[float, ...]
    exact: bool

    def __repr__(self) -> str:
        numbers = " ".join(map(str, self.scalars))
        return f"{print_subgraph(self.subgraph)}scalars {numbers} exact {self.exact}"


@st.composite
def subgraphs(draw: Draw) -> Drawn:
    """Any of the graphs."""
    chain = ChainBuilder(draw, exact=draw(st.booleans()))
    chain.pick(attention, rows, elementwise)(chain)
    domains = tuple(chain.data.values())
    return Drawn(chain.build.subgraph(), domains, tuple(chain.scalars), chain.exact)


def every_function() -> Drawn:
    """The sum of every elementwise function of a product, with numbers where all are defined."""
    chain = ChainBuilder(draw=_simplest, exact=False)
    x = chain.parameter(("b", "m", "d"), static={"d": 5})
    w = chain.parameter(("b", "d", "n"), static={"d": 5})
    scores = chain.apply("tanh", matmul(chain, x, w, depth=5), interval=(-1.0, 1.0))
    one = Value(
        chain.build.add("constant", TensorType("f32"), value=1.6), TensorType("f32"), 1, 1, 0
    )
    base = chain.apply("add", scores, one, interval=(0.6, 2.6))
    side = chain.parameter(("n",), domain=(0.5, 2.0))
    condition = chain.apply("lt", base, side, interval=(0, 1))
    total = base
    for row in ELEMENTWISE.values():
        if row.result in ELEMENT_TYPES and ELEMENT_TYPES[row.result].is_narrow:
            continue  # a rounding that is computed with again may be left out
        boolean = row.name in (*LOGIC, "not", "to_f32")
        pair = [condition, condition] if boolean else [base, side]
        operands = [*pair, base][: row.arity]
        operands = [condition, base, side] if row.name == "where" else operands
        value = chain.apply(row.name, *operands, interval=(-LIMIT, LIMIT))
        if value.type.dtype != "f32":
            value = chain.apply("to_f32", value, interval=(-LIMIT, LIMIT))
        total = chain.apply("add", total, value, interval=(-LIMIT, LIMIT))
    result(chain, softmax(chain, total))
    return Drawn(chain.build.subgraph(), tuple(chain.data.values()), (), False)


def bias_and_mask() -> Subgraph:
    """Softmax of a product with a bias [1 h m n] and a mask [b 1 1 n] added."""
    chain = ChainBuilder(draw=_simplest, exact=False)
    q, k = (chain.parameter(("b", "h", *axes), static={"d": 8}) for axes in ("md", "dn"))
    scores = matmul(chain, q, k, depth=8)
    for ones in ((0,), (1, 2)):
        side = chain.parameter(("b", "h", "m", "n"), ones)
        scores = chain.apply("add", scores, side, interval=(-LIMIT, LIMIT))
    result(chain, softmax(chain, scores))
    return chain.build.subgraph()


def _simplest(strategy: st.SearchStrategy[Any]) -> Any:
    return find(strategy, lambda _: True)
