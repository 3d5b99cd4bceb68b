"""Attention, its derivative and what stands around it in a model, as canonical Subgraphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from typing import Any

from snipjit.ir.subgraph import Node, Subgraph, SubgraphBuilder, TensorType

F32 = "f32"


class Model(SubgraphBuilder):
    """A builder in which axes are shared by name, and operands align by name."""

    def of(self, *axes: str) -> TensorType:
        """A type of f32 with one axis a dim."""
        return TensorType.of(F32, *axes)

    def weight(self, name: str, *axes: str, **attrs: Any) -> str:
        """A tensor of the call."""
        return self.add("parameter", self.of(*axes), name=name, **attrs)

    def number(self, value: float) -> str:
        """A constant."""
        return self.add("constant", TensorType(F32), value=value)

    def map(self, op: str, *inputs: str) -> str:
        """An elementwise function; its axes are those of its operands, in the model's order."""
        found = {axis for name in inputs for axis in self.type(name).axes}
        return self.add(op, self.of(*(axis for axis in self.axes if axis in found)), *inputs)

    def product(self, a: str, b: str, *over: str) -> str:
        """The product of two values, summed over some axes."""
        found = {axis for name in (a, b) for axis in self.type(name).axes} - {*over}
        type = self.of(*(axis for axis in self.axes if axis in found))
        return self.add("brgemm", type, a, b, over=over)

    def reduce(self, monoid: str, x: str, over: str) -> str:
        """A reduction over one axis."""
        type = self.of(*(axis for axis in self.type(x).axes if axis != over))
        return self.add("reduce", type, x, monoid=monoid, over=(over,))

    def gelu(self, x: str) -> str:
        """``x/2 (1 + erf(x/√2))``."""
        bent = self.map("erf", self.map("mul", x, self.number(sqrt(0.5))))
        half = self.map("mul", x, self.number(0.5))
        return self.map("mul", half, self.map("add", bent, self.number(1.0)))

    def silu(self, x: str) -> str:
        """``x / (1 + exp(-x))``."""
        below = self.map("add", self.map("exp", self.map("neg", x)), self.number(1.0))
        return self.map("div", x, below)

    def mean(self, x: str, over: str, size: int) -> str:
        """The mean over an axis of static size."""
        return self.map("mul", self.reduce("sum", x, over), self.number(1.0 / size))


def in_type(subgraph: Subgraph, dtype: str) -> Subgraph:
    """The same with tensors of another element type: products read them, all else is of f32."""
    nodes: dict[str, Node] = {}

    def cast(name: str, to: str) -> str:
        made = Node(f"{name}.{to}", f"to_{to}", (name,), TensorType(to, nodes[name].type.dims))
        if nodes[name].type.dtype == to:
            return name
        return nodes.setdefault(made.name, made).name

    for node in subgraph.nodes:
        if node.op == "parameter":
            node = replace(node, type=TensorType(dtype, node.type.dims))
        elif node.op == "result":
            inputs = tuple(cast(name, dtype) for name in node.inputs)
            node = replace(node, inputs=inputs, type=TensorType(dtype, node.type.dims))
        elif node.op != "brgemm":
            node = replace(node, inputs=tuple(cast(name, F32) for name in node.inputs))
        nodes[node.name] = node
    return subgraph.with_nodes(nodes.values())


def linear(
    K: int | None = 768, N: int = 3072, gelu: bool = True, block: int = 0, across: bool = False
) -> Subgraph:
    """``gelu(x wᵀ + b)`` with x [m][k], w [n][k] or prepared as [n/block][k][block], b [n].

    ``across``: w lies as [k][n].
    """
    build = Model("linear", m=None, n=N, k=K)
    prepared = {"block": ("n", block)} if block else {}
    x, w = build.weight("x", "m", "k"), build.weight("w", *("kn" if across else "nk"), **prepared)
    y = build.map("add", build.product(x, w, "k"), build.weight("b", "n"))
    build.result(build.gelu(y) if gelu else y)
    return build.subgraph()


def dequantized(
    K: int = 768,
    N: int = 3072,
    integers: str = "i8",
    zero: bool = False,
    group: int = 0,
    block: int = 0,
    across: bool = False,
) -> Subgraph:
    """``x ((w - z) s)ᵀ + b`` with w of integers, and z and s of channels or of groups of k."""
    build = Model("dequantized", m=None, n=N, k=K)
    parts: dict[str, Any] = {}
    if group:
        whole = (("k", ("k.0", "k.1")),)
        parts = {"parts": ((("n",), ("k.0",)), whole, (("k.0", K // group), ("k.1", group)))}
    side = "nk" if group else "n"
    prepared = {"block": ("n", block)} if block else {}
    x = build.weight("x", "m", "k")
    held = TensorType.of(integers, *("kn" if across else "nk"))
    build.add("parameter", held, name="w", **prepared)
    w = build.add("to_f32", build.of("n", "k"), "w")
    if zero:
        build.add("parameter", TensorType.of(integers, *side), name="z", **parts)
        z = build.add("to_f32", build.of(*side), "z")
        w = build.map("sub", w, z)
    s = build.weight("s", *side, **parts)
    w = build.map("mul", w, s) if group else w
    y = build.product(x, w, "k")
    y = y if group else build.map("mul", y, s)
    build.result(build.map("add", y, build.weight("b", "n")))
    return build.subgraph()


def prepare(block: int) -> Subgraph:
    """w [n][k] as [n/block][k][block]."""
    build = Model("prepare", n=None, k=None)
    w = build.weight("w", "n", "k")
    build.add("result", build.type(w), w, order=(0, 1), block=("n", block))
    return build.subgraph()


def product() -> Subgraph:
    """``x w`` with x [m][k] and w [k][n], nothing static."""
    build = Model("product", m=None, n=None, k=None)
    build.result(build.product(build.weight("x", "m", "k"), build.weight("w", "k", "n"), "k"))
    return build.subgraph()


def mlp(K: int = 768, H: int = 3072, N: int = 768) -> Subgraph:
    """``gelu(x uᵀ + a) wᵀ + b`` with u [h][k] and w [n][h]."""
    build = Model("mlp", m=None, h=H, k=K, n=N)
    x, u = build.weight("x", "m", "k"), build.weight("u", "h", "k")
    up = build.gelu(build.map("add", build.product(x, u, "k"), build.weight("a", "h")))
    down = build.product(up, build.weight("w", "n", "h"), "h")
    build.result(build.map("add", down, build.weight("b", "n")))
    return build.subgraph()


def swiglu(K: int = 768, N: int = 3072) -> Subgraph:
    """``silu(x uᵀ) · (x wᵀ)``."""
    build = Model("swiglu", m=None, n=N, k=K)
    x, u, w = build.weight("x", "m", "k"), build.weight("u", "n", "k"), build.weight("w", "n", "k")
    gate, up = build.product(x, u, "k"), build.product(x, w, "k")
    build.result(build.map("mul", build.silu(gate), up))
    return build.subgraph()


def rms_norm_linear(K: int = 768, N: int = 3072) -> Subgraph:
    """``(x / √(mean x² + ε) · g) wᵀ``."""
    build = Model("rms_norm_linear", m=None, n=N, k=K)
    x = build.weight("x", "m", "k")
    mean = build.mean(build.map("mul", x, x), "k", K)
    size = build.map("sqrt", build.map("add", mean, build.number(1e-6)))
    x = build.map("mul", build.map("div", x, size), build.weight("g", "k"))
    build.result(build.product(x, build.weight("w", "n", "k"), "k"))
    return build.subgraph()


def layer_norm(K: int = 768) -> Subgraph:
    """LayerNorm over k, in two passes."""
    build = Model("layer_norm", m=None, k=K)
    x = build.weight("x", "m", "k")
    x = build.map("sub", x, build.mean(x, "k", K))
    variance = build.mean(build.map("mul", x, x), "k", K)
    size = build.map("sqrt", build.map("add", variance, build.number(1e-5)))
    y = build.map("mul", build.map("div", x, size), build.weight("g", "k"))
    build.result(build.map("add", y, build.weight("b", "k")))
    return build.subgraph()


def two_segments(D: int = 64) -> Subgraph:
    """One softmax over the scores of two products, n of a cache and j of new keys."""
    build = Model("two_segments", h=None, m=None, n=None, j=None, d=D, e=D)
    q = build.weight("q", "h", "m", "d")
    scores = {
        axis: build.product(q, build.weight(f"k_{axis}", "h", axis, "d"), "d") for axis in "nj"
    }
    tops = [build.reduce("max", score, axis) for axis, score in scores.items()]
    top = build.map("maximum", *tops)
    weights = {
        axis: build.map("exp", build.map("sub", score, top)) for axis, score in scores.items()
    }
    sums = [build.reduce("sum", weight, axis) for axis, weight in weights.items()]
    parts = [
        build.product(weight, build.weight(f"v_{axis}", "h", axis, "e"), axis)
        for axis, weight in weights.items()
    ]
    build.result(build.map("div", build.map("add", *parts), build.map("add", *sums)))
    return build.subgraph()


def query_gradient(D: int = 64) -> Subgraph:
    """``dQ = (P · (dO Vᵀ - δ)) K`` with ``P = exp(Q Kᵀ - L)``; L and δ are numbers of the rows."""
    build, k, _, errors = _gradient(D)
    build.result(build.product(errors, k, "n"))
    return build.subgraph()


def key_gradient(D: int = 64) -> Subgraph:
    """``dK = (P · (dO Vᵀ - δ))ᵀ Q`` and ``dV = Pᵀ dO``."""
    build, _, weights, errors = _gradient(D)
    build.result(build.product(errors, "q", "m"))
    build.result(build.product(weights, "g", "m"))
    return build.subgraph()


def _gradient(D: int) -> tuple[Model, str, str, str]:
    """A builder, the keys, the weights P, and what is wrong with the scores."""
    build = Model("gradient", h=None, m=None, n=None, d=D, e=D)
    q, g = build.weight("q", "h", "m", "d"), build.weight("g", "h", "m", "e")
    k, v = build.weight("k", "h", "n", "d"), build.weight("v", "h", "n", "e")
    limit, mean = build.weight("limit", "h", "m"), build.weight("mean", "h", "m")
    weights = build.map("exp", build.map("sub", build.product(q, k, "d"), limit))
    errors = build.map("mul", weights, build.map("sub", build.product(g, v, "e"), mean))
    return build, k, weights, errors


def attention(D: int = 64) -> Subgraph:
    """``softmax(q kᵀ) v`` with heads of their own, and as many keys as there are."""
    build = Model("attention", h=None, m=None, n=None, d=D, e=D)
    s = build.product(build.weight("q", "h", "m", "d"), build.weight("k", "h", "n", "d"), "d")
    weights = build.map("exp", build.map("sub", s, build.reduce("larger", s, "n")))
    total = build.reduce("sum", weights, "n")
    result = build.product(weights, build.weight("v", "h", "n", "e"), "n")
    build.result(build.map("div", result, total))
    return build.subgraph()


GRAPHS: dict[str, Callable[[], Subgraph]] = {
    "attention": attention,
    "linear": linear,
    "linear, wide": lambda: linear(2048, 8192),
    "product": product,
    "mlp": mlp,
    "mlp, wide": lambda: mlp(2048, 8192, 2048),
    "swiglu": swiglu,
    "rms norm and linear": rms_norm_linear,
    "layer norm": layer_norm,
    "two segments": two_segments,
    "gradient of queries": query_gradient,
    "gradient of keys and values": key_gradient,
}
