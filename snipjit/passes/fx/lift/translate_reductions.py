"""Softmax in its spellings, and reductions: what goes over a dim of the scores."""

from __future__ import annotations

import math
from typing import Any

from torch import fx

from snipjit.ir.operations import MONOIDS, SCALINGS, cast_to
from snipjit.ir.subgraph import TensorType
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.lift.translate_columns import ColumnTranslator, Operand
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import element_type, literal, normal_dim, tensor

REDUCTIONS = {"sum": "sum", "amax": "max", "max": "max", "amin": "min", "min": "min"}
TRUTHS = ("any", "all")
SOFTMAXES = ("softmax", "safe_softmax", "softmin", "log_softmax", "logsumexp")


_SCALED = (*SCALINGS, "view", "unsqueeze", "transpose")
"""What moves or scales scores: a scalar stands second."""


def _moves(op: str) -> bool:
    """Whether an operation moves scores, scales or rounds them."""
    to = cast_to(op)
    return op in _SCALED or (to is not None and to.kind == "float")


class ReductionTranslator:
    """Writes the ops that go over a dim; with a column more where the operand has one."""

    def __init__(self, writer: SubgraphWriter, operand: Operand, columns: ColumnTranslator) -> None:
        self.writer = writer
        self.columns = columns
        self._operand = operand

    def translate(self, node: fx.Node, call: Call) -> str:
        """The value of a softmax or reduction."""
        if call.op in TRUTHS:
            return self._any(node, call)
        if call.op in REDUCTIONS:
            return self._reduce(node, call)
        value = self.writer.to(self._operand(node, call.get("input")), "f32")
        dims = dims_of(node, call)
        if call.op == "logsumexp":
            return self._finite_log_sum_exp(value, dims, bool(call.get("keepdim", False)))
        if call.op == "softmin":
            value = self.writer.op("neg", value)
        if call.op == "log_softmax":
            return self.writer.op("sub", value, self._log_sum_exp(value, dims))
        return self.softmax(value, dims, zeros=call.op == "safe_softmax")

    def softmax(self, value: str, dims: tuple[int, ...], zeros: bool = False) -> str:
        """The softmax of a value over one dim; with ``zeros`` where everything is hidden."""
        value = self.writer.to(value, "f32")
        attrs: dict[str, Any] = {"hidden": "zero"} if zeros else {}
        return self.writer.add("softmax", self.writer.types[value], value, dim=dims[0], **attrs)

    def softmax_with_zeros(self, node: fx.Node) -> str:
        """A softmax node whose rows that see nothing are zeros."""
        call = lookup(node)
        assert call is not None
        value = self._operand(node, call.get("input"))
        return self.softmax(value, dims_of(node, call), zeros=True)

    def _any(self, node: fx.Node, call: Call) -> str:
        """Whether any, or every, element along dims is true."""
        truth = self.writer.to(self._operand(node, call.get("input")), "i1")
        monoid = "max" if call.op == "any" else "min"
        keepdim = bool(call.get("keepdim", False))
        return self.writer.to(self.reduced(monoid, truth, dims_of(node, call), keepdim), "i1")

    def exp(self, node: fx.Node, call: Call) -> str | None:
        """The exponential of a value less its log-sum-exp, which is its softmax; None if other."""
        source = self.columns.flow.read(node, call.get("input"))
        inner = lookup(source) if source in self.columns.region else None
        if inner is not None and inner.op == "log_softmax":
            return self.softmax(self._operand(source, inner.get("input")), dims_of(source, inner))
        if inner is None or inner.op != "sub" or inner.get("alpha", 1) != 1:
            return None
        value, less = (self.columns.flow.read(source, inner.get(x)) for x in ("input", "other"))
        total = lookup(less) if isinstance(less, fx.Node) else None
        if total is None or total.op != "logsumexp" or not total.get("keepdim", False):
            return None
        if self.columns.flow.read(less, total.get("input")) is not value:
            return None
        dims, scores = dims_of(less, total), self._operand(source, value)
        if len(dims) == 1 and self._is_scaled_product(scores):
            return self.softmax(scores, dims)
        if element_type(less) != "f32":
            raise RefusedError(
                f"`{less.name}` rounds the logarithm of a sum of masked scores to 16 bits; "
                "accepted: softmax or log_softmax"
            )
        return None

    def _is_scaled_product(self, name: str) -> bool:
        """Whether nothing hides scores: less a large number, a logarithm would be rounded off."""
        node = self.writer.nodes[name]
        while _moves(node.op):
            node = self.writer.nodes[node.inputs[0]]
        return node.op == "matmul"

    def _reduce(self, node: fx.Node, call: Call) -> str:
        dims, keepdim = dims_of(node, call), bool(call.get("keepdim", False))
        monoid = REDUCTIONS[call.op]
        parts = self.columns.read(node, call.get("input"))
        if parts is None:
            return self.reduced(monoid, self._operand(node, call.get("input")), dims, keepdim)
        if parts.column is None or dims != (-1,):
            raise RefusedError(
                f"`{node.name}` reads what `cat` added; accepted: a slice without it"
            )
        scores = self.reduced(monoid, parts.scores, dims, keepdim)
        column = parts.column
        if not keepdim and self.writer.types[column].dims:
            column = self.reduced(monoid, column, dims, keepdim)
        return self.writer.op(MONOIDS[monoid].combine, scores, column)

    def reduced(self, monoid: str, value: str, dims: tuple[int, ...], keepdim: bool) -> str:
        """A reduction over dims counted from the last."""
        value = self.writer.to(value, "f32")
        old = self.writer.types[value].dims
        over = {dim + len(old) for dim in dims}
        new = [() if i in over else dim for i, dim in enumerate(old) if keepdim or i not in over]
        type = TensorType("f32", tuple(new))
        attrs: dict[str, Any] = {"monoid": monoid, "dims": dims, "keepdim": keepdim}
        return self.writer.add("reduce_dims", type, value, **attrs)

    def _finite_log_sum_exp(self, value: str, dims: tuple[int, ...], keepdim: bool) -> str:
        """``log_sum_exp`` with the terms of softmax; a maximum that is infinite is the result."""
        write = self.writer
        top = self.reduced("larger", value, dims, True)
        total = self.reduced("sum", write.op("exp", write.op("sub", value, top)), dims, True)
        # This maximum keeps a NaN, which the other may drop.
        most = self.reduced("max", value, dims, True)
        infinite = write.op("eq", write.op("abs", most), write.constant(math.inf))
        result = write.op("where", infinite, most, write.op("add", write.op("log", total), top))
        # Over a dim of size 1 a reduction only drops it.
        return result if keepdim else self.reduced("sum", result, dims, False)

    def _log_sum_exp(self, value: str, dims: tuple[int, ...]) -> str:
        """``max + log(sum(exp(x - max)))``; 0 stands for a maximum of -inf, as in eager."""
        write = self.writer
        top = self.reduced("larger", value, dims, True)
        hidden = write.op("eq", top, write.constant(-math.inf))
        top = write.op("where", hidden, write.constant(0.0), top)
        terms = write.op("exp", write.op("sub", value, top))
        total = write.op("log", self.reduced("sum", terms, dims, True))
        return write.op("add", total, top)


def dims_of(node: fx.Node, call: Call) -> tuple[int, ...]:
    """The dims that an op goes over, counted from the last and in order."""
    source = call.get("input")
    given = call.get("dim")
    listed = list(given) if isinstance(given, list | tuple) else [given]
    dims = [dim for of in listed if (dim := literal(of)) is not None]
    rank = tensor(source).dim()
    if not dims or len(dims) < len(listed) or not rank:
        raise RefusedError(
            f"`{node.name}` ({spelled(node)}) goes over dim {given}; accepted: literal dims"
        )
    return tuple(sorted(normal_dim(dim, rank) - rank for dim in dims))
