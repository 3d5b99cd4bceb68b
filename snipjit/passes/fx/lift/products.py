"""Products in their spellings: each becomes a matmul of two values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from torch import fx

from snipjit.ir.subgraph import Dim, TensorType
from snipjit.passes.fx.lift.convolutions import check_one_tap
from snipjit.passes.fx.lift.equation import Equation
from snipjit.passes.fx.lift.layouts import transpose_last, view_to
from snipjit.passes.fx.lift.subgraph_writer import Aligned, SubgraphWriter
from snipjit.passes.fx.lift.translate_einsum import (
    CONTRACTIONS,
    feature_dims,
    read_contraction,
    write_einsum,
)
from snipjit.passes.fx.lift.translate_sdpa import factors, sdpa
from snipjit.passes.fx.nodes.calls import Call
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import is_tensor, tensor

PRODUCTS = ("matmul", "baddbmm", "addmm", "linear", "convolution", *CONTRACTIONS)
"""Canonical ops that multiply two tensors."""


class Factor(Protocol):
    """Lifts a factor; see ``Lifter.factor``."""

    def __call__(
        self,
        reader: fx.Node,
        argument: Any,
        feature: int,
        single: int | None,
        /,
        shared: bool = ...,
    ) -> str:
        """The value of a factor."""


class ProductLifter:
    """Writes products; ``summed`` tells the dim that each goes over."""

    def __init__(
        self,
        writer: SubgraphWriter,
        factor: Factor,
        operand: Callable[[fx.Node, Any], str],
        is_inside: Callable[[fx.Node, Any], bool],
    ) -> None:
        self.writer = writer
        self.summed: dict[fx.Node, Dim] = {}
        self._factor = factor
        self._operand = operand
        self._is_inside = is_inside

    def lift(self, node: fx.Node, call: Call) -> str:
        """The value of a product."""
        if call.op in ("baddbmm", "addmm"):
            return self._added(node, call)
        if call.op == "linear":
            return self._linear(node, call)
        if call.op == "convolution":
            return self._convolution(node, call)
        if call.op in CONTRACTIONS:
            return self._einsum(node, *read_contraction(node, call))
        if call.op == "sdpa":
            return self._sdpa(node, call)
        return self._product(node, call.get("input"), call.get("other"))

    def _product(self, node: fx.Node, lhs: Any, rhs: Any, transposed: bool = False) -> str:
        """``lhs @ rhs``; ``transposed`` tells that the last dim of ``rhs`` is summed."""
        if not (is_tensor(lhs) and is_tensor(rhs)):
            raise RefusedError(f"`{node.name}` multiplies by a number; accepted: two tensors")
        vectors = [tensor(side).dim() < 2 for side in (lhs, rhs)]
        inner = self._inner(node, lhs, rhs)
        summed, free = (-1, -2) if transposed else (-2, -1)
        if vectors[0]:
            left = self.writer.insert_dim(self._factor(node, lhs, -1, None), 0)
        else:
            # The rows of what meets a matrix are not aligned with anything: products share them.
            feature, single = (-2, -1) if inner[1] else (-1, None)
            left = self._factor(node, lhs, feature, single, shared=tensor(rhs).dim() == 2)
        if vectors[1]:
            right = self.writer.insert_dim(self._factor(node, rhs, -1, None), 0)
        else:
            right = self._factor(node, rhs, *((free, summed) if inner[0] else (summed, free)))
        if transposed or vectors[1]:
            right = transpose_last(self.writer, right)
        return self._without(self._multiply(node, left, right), vectors)

    def _without(self, value: str, vectors: list[bool]) -> str:
        """A product without the rows or columns that vectors were given."""
        *batch, row, column = self.writer.types[value].dims
        kept = [dim for dim, one in zip((row, column), vectors, strict=True) if not one]
        return view_to(self.writer, value, (*batch, *kept))

    def _inner(self, node: fx.Node, lhs: Any, rhs: Any) -> tuple[bool, bool]:
        """Which of the two operands of a product is a value of the region."""
        left, right = self._is_inside(node, lhs), self._is_inside(node, rhs)
        if left and right:
            raise RefusedError(f"`{node.name}` multiplies two values of the chain; accepted: one")
        return left, right

    def _multiply(self, node: fx.Node, left: str, right: str) -> str:
        write = self.writer
        left, right = factors(write, node, left, right)
        rows, columns = write.types[left].dims[-2], write.types[right].dims[-1]
        self.summed[node] = write.types[left].dims[-1]
        says = Aligned(((self.summed[node], write.types[right].dims[-2]),))
        says = says.joined(write.align(write.types[left].dims[:-2], write.types[right].dims[:-2]))
        batch, more = write.broadcast(left, right, drop=2)
        type = TensorType("f32", (*batch, rows, columns))
        return write.add("matmul", type, left, right, says=says.joined(more))

    def _einsum(self, node: fx.Node, equation: Equation, lhs: fx.Node, rhs: fx.Node) -> str:
        dims = feature_dims(equation, self._inner(node, lhs, rhs))
        (feature, single), (own, other) = zip(*dims, strict=True)
        left = self._factor(node, lhs, feature, single, shared=not equation.batch)
        right = self._factor(node, rhs, own, other)
        return write_einsum(self.writer, equation, left, right, partial(self._multiply, node))

    def _added(self, node: fx.Node, call: Call) -> str:
        """``beta · input + alpha · left @ right``; an input times a literal 0 is not read."""
        sides = ("batch1", "batch2") if call.op == "baddbmm" else ("mat1", "mat2")
        value = self._product(node, *(call.get(side) for side in sides))
        alpha, beta = call.get("alpha", 1), call.get("beta", 1)
        if isinstance(alpha, fx.Node) or alpha != 1:
            value = self.writer.op("mul", value, self._operand(node, alpha))
        if not isinstance(beta, fx.Node) and beta == 0:
            return value
        added = self._operand(node, call.get("input"))
        if isinstance(beta, fx.Node) or beta != 1:
            added = self.writer.op("mul", added, self._operand(node, beta))
        return self.writer.op("add", value, added)

    def _linear(self, node: fx.Node, call: Call) -> str:
        value = self._product(node, call.get("input"), call.get("weight"), transposed=True)
        bias = call.get("bias")
        return value if bias is None else self.writer.op("add", value, self._operand(node, bias))

    def _convolution(self, node: fx.Node, call: Call) -> str:
        """The weight times the channels of each point, which are columns."""
        check_one_tap(node, call)
        write, more = self.writer, tensor(call.get("weight")).dim() - 2
        weight = self._factor(node, call.get("weight"), 1, None)
        first, *others = write.types[weight].dims
        left = view_to(write, weight, (first, sum(others, ())))
        points = self._factor(node, call.get("input"), -1 - more, None, shared=True)
        *batch, channels = write.types[points].dims[:-more]
        places = write.types[points].dims[-more:]
        right = view_to(write, points, (*batch, channels, sum(places, ())))
        value = self._multiply(node, left, right)
        value = view_to(write, value, (*batch, first, *places))
        if (bias := call.get("bias")) is None:
            return value
        added = self._operand(node, bias)
        for _ in range(more):
            added = write.insert_dim(added, 1)
        return write.op("add", value, added)

    def _sdpa(self, node: fx.Node, call: Call) -> str:
        def factor(name: str) -> str:
            single = None if name == "query" else -2
            return self._factor(node, call.get(name), -1, single)

        return sdpa(node, call, self.writer, factor, partial(self._operand, node))
