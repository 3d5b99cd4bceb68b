"""PropagatePrecision: everything is computed in f32; 16-bit types are left to memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from snipjit.ir.element_types import ELEMENT_TYPES
from snipjit.ir.operations import EXPONENTIALS, MONOIDS, cast_to
from snipjit.ir.subgraph import Node, Subgraph, TensorType
from snipjit.passes.base import Pass
from snipjit.passes.graph.rewriter import Rewriter, rewrite

LAYOUTS = ("transpose", "view", "unsqueeze", "expand")
FACTORS = {"matmul": 2, "sdpa": 3}
"""Operations that multiply, and how many of their operands are factors."""


@dataclass(frozen=True)
class PropagatePrecision(Pass):
    """Use the value that was rounded, not the rounded one, wherever it is computed with again.

    A model in bf16 or f16 rounds after every operation because its values lie in memory. Here they
    do not: without the roundings the result is nearer to the exact one, and they cost nothing. Only
    results are rounded, behind the layout operations. Products take 16-bit parameters as they are:
    a product of two of their elements is exact in f32, in which it is summed. A factor of f32
    beside one of 16 bits is one that the model rounds, so that it may be rounded again; beside
    one that the model does not round, parameters stay converted. So do factors of two different
    16-bit types.

    One rounding has a meaning: a score less 65504 is -65504 in float16, whatever the score, so that
    rows that see nothing weigh all keys alike. Their exponentials keep a note of it.

    Before:  %s = matmul %q %k : f32[m][n]                  with %q, %k and %v of bf16
             %r = to_bf16 %s : bf16[m][n]
             %w = to_f32 %r : f32[m][n]
             %e = exp %w : f32[m][n]
             %p = to_bf16 %e : bf16[m][n]
             %o = matmul %p %v : f32[m][e]
             %y = to_bf16 %o : bf16[m][e]
             %t = transpose %y {order=(1, 0)} : bf16[e][m]
    After:   %s = matmul %q %k : f32[m][n]
             %e = exp %s : f32[m][n]
             %o = matmul %e %v : f32[m][e]
             %t.wide = transpose %o {order=(1, 0)} : f32[e][m]
             %t = to_bf16 %t.wide : bf16[e][m]
    """

    def run(self, subgraph: Subgraph) -> Subgraph:
        """The Subgraph without roundings between its operations."""
        mark = partial(_mark, _of_float16(subgraph))
        rules: dict[str, Callable[[Rewriter, Node], str]] = {
            "to_f32": _widen,
            **{f"to_{row.name}": _narrow for row in ELEMENT_TYPES.values() if row.is_half},
            **dict.fromkeys(LAYOUTS, _layout),
            **dict.fromkeys(FACTORS, _multiply),
            **dict.fromkeys(("softmax", *EXPONENTIALS), mark),
        }
        return rewrite(subgraph, rules)


def _of_float16(subgraph: Subgraph) -> set[str]:
    """The exponentials, of softmax too, of values that the model has rounded to float16.

    Written out, of their differences from the row's maximum.
    """
    nodes = subgraph.by_name

    def peeled(name: str, roundings: bool = False) -> Node:
        while nodes[name].op in ("to_f32", *LAYOUTS) or (roundings and _rounds(nodes[name])):
            name = nodes[name].inputs[0]
        return nodes[name]

    def exponent(node: Node) -> str | None:
        if node.op == "softmax":
            return node.inputs[0]
        difference = peeled(node.inputs[0], roundings=True)
        if difference.op != "sub":
            return None
        value, less = difference.inputs
        maximum = peeled(less, roundings=True)
        monoid = MONOIDS.get(maximum.attrs.get("monoid", ""))
        return value if monoid is not None and monoid.is_maximum else None

    found = {node.name: exponent(node) for node in subgraph.of("softmax", *EXPONENTIALS)}
    return {name for name, of in found.items() if of is not None and peeled(of).op == "to_f16"}


def _mark(rounded: set[str], out: Rewriter, node: Node) -> str:
    """Say of an exponential what float16 has done to its rows that see nothing (RowUnits)."""
    attrs = {"rounded": "f16"} if node.name in rounded else {}
    return out.keep(replace(node, attrs={**node.attrs, **attrs}))


def _rounds(node: Node) -> bool:
    """Whether a model does this for want of room, not to quantize."""
    to = cast_to(node.op)
    return to is not None and to.is_half


def _exact(out: Rewriter, name: str) -> str:
    """The value that another one was rounded from, or that one."""
    node = out[name]
    return node.inputs[0] if _rounds(node) else name


def _widen(out: Rewriter, node: Node) -> str:
    (x,) = node.inputs
    exact = _exact(out, x)
    return exact if exact != x else out.keep(node)


def _narrow(out: Rewriter, node: Node) -> str:
    return out.keep(replace(node, inputs=(_exact(out, node.inputs[0]),)))


def _layout(out: Rewriter, node: Node) -> str:
    (x,) = node.inputs
    exact = _exact(out, x)
    if exact == x:
        return out.keep(node)
    type = TensorType("f32", node.type.dims)
    wide = out.add(f"{node.name}.wide", node.op, type, exact, **node.attrs)
    return out.keep(Node(node.name, out[x].op, (wide,), node.type))


def _multiply(out: Rewriter, node: Node) -> str:
    factors = node.inputs[: FACTORS[node.op]]
    exact = [_exact(out, name) for name in factors]
    narrow = [_unconverted(out, name) for name in exact]
    types = [out.type(name) for name in narrow]
    halves = {type.dtype for type in types if type.element.is_half}
    rounded = any(out.type(name).element.is_half for name in factors)
    alike = len(halves) < 2 and (rounded or all(type.element.is_half for type in types))
    chosen = narrow if alike else [out.to_f32(name) for name in exact]
    return out.keep(replace(node, inputs=(*chosen, *node.inputs[len(factors) :])))


def _unconverted(out: Rewriter, name: str) -> str:
    """The operand of a conversion to f32, or the value itself."""
    node = out[name]
    widened = node.op == "to_f32" and out.type(node.inputs[0]).element.is_half
    return node.inputs[0] if widened else name
