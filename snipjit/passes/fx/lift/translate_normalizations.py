"""Normalizations as PyTorch names them, and the statistics that models write them with.

A variance is the mean of squares about the mean, as PyTorch's is: what is squared is small.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from math import prod
from typing import Any

import torch
from torch import fx

from snipjit.ir.subgraph import Dim
from snipjit.passes.fx.lift.layouts import view_to
from snipjit.passes.fx.lift.lengths import length
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.lift.translate_reductions import ReductionTranslator, dims_of
from snipjit.passes.fx.nodes.calls import Call, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import Size, ints, literal, tensor

STATISTICS = ("mean", "var", "std", "norm")
NORMALIZATIONS = ("layer_norm", "rms_norm", "group_norm", "normalize")

Dims = tuple[int, ...]


class NormalizationTranslator:
    """Writes them as reductions and elementwise functions.

    Before:  %y = layer_norm(%x, (8,), %w, %b, 1e-05)
    After:   %0 = reduce_dims %x {monoid=sum}; %1 = div %0 8.0; %2 = sub %x %1; %3 = mul %2 %2
             %4 = reduce_dims %3 {monoid=sum}; %5 = div %4 8.0; %6 = add %5 %s0; %7 = sqrt %6
             %8 = div 1.0 %7; %9 = mul %2 %8; %10 = mul %9 %w; %11 = add %10 %b
    """

    def __init__(
        self,
        writer: SubgraphWriter,
        operand: Callable[[fx.Node, Any], str],
        reductions: ReductionTranslator,
    ) -> None:
        self.writer = writer
        self._operand = operand
        self._reductions = reductions

    def translate(self, node: fx.Node, call: Call) -> str:
        """The value of a normalization, or of a statistic."""
        value = self.writer.to(self._operand(node, call.get("input")), "f32")
        if call.op in STATISTICS:
            return self._statistic(node, call, value)
        if call.op == "normalize":
            return self._normalize(node, call, value)
        if call.op == "group_norm":
            return self._group_norm(node, call, value)
        dims = tuple(range(-len(ints(call.get("normalized_shape"))), 0))
        if call.op == "layer_norm":
            value = self._standardized(node, call, value, dims)
        else:
            value = self._scaled_by_root(node, call, value, dims)
        return self._affine(node, call, value)

    def _statistic(self, node: fx.Node, call: Call, value: str) -> str:
        dims, keepdim = dims_of(node, call), bool(call.get("keepdim", False))
        if call.op == "mean":
            return self._mean(node, value, dims, keepdim)
        if call.op == "norm":
            return self.writer.op("sqrt", self._squares(node, call, value, dims, keepdim))
        centred = self._centred(node, value, dims)
        square = self.writer.op("mul", centred, centred)
        total = self._reductions.reduced("sum", square, dims, keepdim)
        less = call.get("correction", int(call.get("unbiased", True)))
        fewer = 1 if less is None else self._number(node, less)
        found = self.writer.op("div", total, self._count(node, value, dims, fewer))
        return self.writer.op("sqrt", found) if call.op == "std" else found

    def _normalize(self, node: fx.Node, call: Call, value: str) -> str:
        call = Call(call.op, {"dim": 1, **call.arguments})
        root = self.writer.op("sqrt", self._squares(node, call, value, dims_of(node, call), True))
        least = self._operand(node, call.get("eps", 1e-12))
        return self.writer.op("div", value, self.writer.op("maximum", root, least))

    def _squares(self, node: fx.Node, call: Call, value: str, dims: Dims, keepdim: bool) -> str:
        """The sum of squares, for a norm of order 2."""
        if (order := call.get("p", 2)) not in (None, 2, 2.0, "fro"):
            raise RefusedError(f"`{node.name}` is a norm of order {order}; accepted: 2")
        square = self.writer.op("mul", value, value)
        return self._reductions.reduced("sum", square, dims, keepdim)

    def _standardized(self, node: fx.Node, call: Call, value: str, dims: Dims) -> str:
        write = self.writer
        centred = self._centred(node, value, dims)
        spread = self._mean(node, write.op("mul", centred, centred), dims, True)
        least = self._operand(node, call.get("eps", 1e-5))
        return write.op("mul", centred, self._inverse_root(write.op("add", spread, least)))

    def _scaled_by_root(self, node: fx.Node, call: Call, value: str, dims: Dims) -> str:
        write, least = self.writer, call.get("eps")
        if least is None:
            least = torch.finfo(tensor(call.get("input")).dtype).eps
        square = self._mean(node, write.op("mul", value, value), dims, True)
        root = self._inverse_root(write.op("add", square, self._operand(node, least)))
        return write.op("mul", value, root)

    def _group_norm(self, node: fx.Node, call: Call, value: str) -> str:
        """Over the channels of a group and all that is behind them."""
        write, dims = self.writer, self.writer.types[value].dims
        groups, rank = literal(call.get("num_groups")), len(dims)
        batch, channels, *behind = (write.axes.size(dim) for dim in dims)
        known = literal(channels)
        if groups is None or known is None:
            raise RefusedError(
                f"`{node.name}` has {groups} groups of {channels}; accepted: numbers"
            )
        shape = [batch, groups, known // groups, *behind]
        value = view_to(write, value, write.axes.regroup(dims, shape))
        value = self._standardized(node, call, value, tuple(range(1 - rank, 0)))
        value = view_to(write, value, self._joined(write.types[value].dims))
        return self._affine(node, call, value, rank - 2)

    @staticmethod
    def _joined(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """Groups and the channels of one as channels again."""
        batch, groups, channels, *behind = dims
        return (batch, groups + channels, *behind)

    def _affine(self, node: fx.Node, call: Call, value: str, behind: int = 0) -> str:
        """Times the weight, plus the bias, which lack so many dims behind their own."""
        for name, function in (("weight", "mul"), ("bias", "add")):
            if call.get(name) is None:
                continue
            factor = self._operand(node, call.get(name))
            for _ in range(behind):
                factor = self.writer.insert_dim(factor, 1)
            value = self.writer.op(function, value, factor)
        return value

    def _centred(self, node: fx.Node, value: str, dims: Dims) -> str:
        return self.writer.op("sub", value, self._mean(node, value, dims, True))

    def _mean(self, node: fx.Node, value: str, dims: Dims, keepdim: bool) -> str:
        total = self._reductions.reduced("sum", value, dims, keepdim)
        return self.writer.op("div", total, self._count(node, value, dims))

    def _count(self, node: fx.Node, value: str, dims: Dims, less: int = 0) -> str:
        """How many elements dims have but for some, at least 0; a call tells what is not known."""
        write, held = self.writer, self.writer.types[value].dims
        sizes = [write.axes.size(held[dim]) for dim in dims]
        known = prod(number for size in sizes if (number := literal(size)) is not None)
        lengths = [self._length(node, size) for size in sizes if literal(size) is None]
        if not lengths:
            return write.constant(max(known - less, 0))
        count = reduce(partial(write.op, "mul"), lengths)
        count = count if known == 1 else write.op("mul", count, write.constant(known))
        if not less:
            return count
        return write.op("maximum", write.op("sub", count, write.constant(less)), write.constant(0))

    def _length(self, node: fx.Node, size: Size) -> str:
        if (found := length(self.writer, size)) is None:
            raise RefusedError(
                f"`{node.name}` ({spelled(node)}) goes over {size} elements, which no operand has "
                "in a dim; accepted: dims of operands"
            )
        return found

    def _inverse_root(self, value: str) -> str:
        write = self.writer
        return write.op("div", write.constant(1.0), write.op("sqrt", value))

    @staticmethod
    def _number(node: fx.Node, given: Any) -> int:
        if not isinstance(given, int | float):
            raise RefusedError(f"`{node.name}` has correction {given}; accepted: a number")
        return int(given)
