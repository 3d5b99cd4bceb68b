"""Translates a region of the graph, product to product, into positional Subgraph nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from torch import fx

from snipjit.ir.subgraph import Dim, TensorType
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.graph.writes import WRITES
from snipjit.passes.fx.index.fills import fill_value
from snipjit.passes.fx.lift.absorb_masks import MaskAbsorber, met_shape
from snipjit.passes.fx.lift.absorb_operands import absorb_operand
from snipjit.passes.fx.lift.expand_elementwise import expand_elementwise, is_elementwise
from snipjit.passes.fx.lift.head_scale import HeadScale
from snipjit.passes.fx.lift.layouts import LAYOUTS, apply_layout
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.lift.translate_columns import JOINS, ColumnTranslator
from snipjit.passes.fx.lift.translate_einsum import head_dims, read_einsum, write_einsum
from snipjit.passes.fx.lift.translate_reductions import (
    REDUCTIONS,
    SOFTMAXES,
    ReductionTranslator,
    dims_of,
)
from snipjit.passes.fx.lift.translate_sdpa import factors, sdpa
from snipjit.passes.fx.lift.triangles import TRIANGLES, triangle
from snipjit.passes.fx.lift.writes import WriteTranslator
from snipjit.passes.fx.nodes.op_table import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    element_type,
    is_number,
    is_one_integer,
    is_tensor,
    tensor,
)

PRODUCTS = ("matmul", "baddbmm", "einsum")
MAX_HEAD = 512


def is_chain_op(op: str) -> bool:
    """Whether a canonical op may stand between the two products."""
    other = (*SOFTMAXES, *REDUCTIONS, *JOINS, *LAYOUTS, *TRIANGLES, *WRITES)
    return op in other or is_elementwise(op)


class Translator:
    """The walk from the last product of a region back to its operands.

    ``region`` are the nodes to translate; what they read from outside becomes scalars, side inputs
    and, for the operands of products, q, k and v with the layout ops above them. With ``masks``
    side inputs that are functions of indices are translated too.
    """

    def __init__(
        self,
        flow: ValueFlow,
        region: Collection[fx.Node],
        taken: Collection[fx.Node],
        masks: MaskAbsorber | None = None,
    ) -> None:
        self.flow = flow
        self.region = region
        self.taken = taken
        self.writer = SubgraphWriter()
        self.covered: set[fx.Node] = set(region)
        self.masks = masks
        self.heads: list[Dim] = []
        self._summed: dict[fx.Node, Dim] = {}
        self._values: dict[fx.Node, str] = {}
        self.columns = ColumnTranslator(flow, region, self.writer, self._operand)
        self.reductions = ReductionTranslator(self.writer, self._operand, self.columns)
        self.writes = WriteTranslator(flow, region, self.writer, self.value, self._operand)

    def value(self, node: fx.Node) -> str:
        """The Subgraph value of a node of the region."""
        if node not in self._values:
            self._values[node] = self._translate(node)
        return self._values[node]

    def sums_last(self, product: fx.Node, value: fx.Node) -> bool:
        """Whether a translated product sums over the dim of a softmax, or over the last."""
        parts, call = self.columns.of(value), lookup(value)
        dims = self.writer.types[parts.scores if parts else self.value(value)].dims
        last = dims[dims_of(value, call)[0]] if call and call.op in SOFTMAXES else dims[-1]
        return self.writer.is_equal(self._summed[product], last)

    def _translate(self, node: fx.Node) -> str:
        call = lookup(node)
        if call is None:
            raise RefusedError(unknown(node))
        if self.columns.of(node) is not None:
            raise RefusedError(
                f"`{node.name}` ({spelled(node)}) has a column more than the scores and is read "
                "with it; accepted: a slice without it after softmax"
            )
        whole = is_tensor(node)
        dtype = element_type(node) if whole else "f32"
        name = self._dispatch(node, call)
        if whole and "i1" not in (dtype, self.writer.types[name].dtype):
            name = self.writer.to(name, dtype)
        type = self.writer.types[name]
        if whole and (type.dtype != dtype or len(type.dims) != tensor(node).dim()):
            raise RefusedError(f"`{node.name}` ({spelled(node)}) has a type of its own")
        return name

    def _dispatch(self, node: fx.Node, call: Call) -> str:
        if call.op == "exp" and (weights := self.reductions.exp(node, call)) is not None:
            return weights
        if is_elementwise(call.op):
            return expand_elementwise(call, self.writer, lambda arg: self._operand(node, arg))
        if call.op in LAYOUTS:
            if (rest := self.columns.without(node, call)) is not None:
                return rest
            source = self._operand(node, call.get("input"))
            if call.op == "getitem" and not is_tensor(call.get("input")):
                return self._first(node, call, source)
            return apply_layout(node, call, self.writer, source)
        special: dict[str, Callable[[fx.Node, Call], str]] = {
            "matmul": self._matmul,
            "baddbmm": self._baddbmm,
            "einsum": self._einsum,
            "sdpa": self._sdpa,
            "tril": self._triangle,
            "triu": self._triangle,
            **dict.fromkeys(WRITES, self.writes.translate),
        }
        if call.op in special:
            return special[call.op](node, call)
        if call.op in REDUCTIONS or call.op in SOFTMAXES:
            return self.reductions.translate(node, call)
        raise RefusedError(unknown(node))

    def _first(self, node: fx.Node, call: Call, source: str) -> str:
        """The values of a reduction that gives values and indices."""
        if call.get("index") != 0:
            raise RefusedError(f"`{node.name}` takes indices; accepted: values")
        return source

    def _operand(self, reader: fx.Node, argument: Any) -> str:
        if isinstance(argument, fx.Node):
            argument = self.flow.read(reader, argument)
            if (number := fill_value(self.flow, reader, argument)) is not None:
                scalar = self.writer.scalar(number)
                return self.writer.to(scalar, "i1") if isinstance(number, bool) else scalar
            if argument in self.region:
                return self.value(argument)
        if isinstance(argument, HeadScale) or is_number(argument):
            return self.writer.scalar(argument)
        if isinstance(argument, fx.Node) and is_one_integer(argument):
            return self.writer.scalar(argument)
        if not isinstance(argument, fx.Node):
            raise RefusedError(f"`{reader.name}` takes {argument!r}; accepted: tensors and numbers")
        if self.masks is not None and is_tensor(argument):
            shape = met_shape(self.flow, reader, self.region)
            value = self.masks.value(self.writer, argument, shape) if shape is not None else None
            if value is not None:
                return value
        return self.writer.side_input(argument)

    def _factor(self, reader: fx.Node, argument: Any, head: int) -> str:
        """An operand of a product; ``head`` is its dim that gets a static size."""
        source = self.flow.read(reader, argument)
        if source in self.region:
            return self.value(source)
        name = self._role(reader, head)
        value, absorbed = absorb_operand(
            self.flow, self.writer, reader, source, name, head, self.taken
        )
        self.covered |= absorbed
        dim = self.writer.types[value].dims[head]
        self._check_head(source, self.writer.axes.size(dim))
        self.heads.append(dim)
        return value

    def _role(self, reader: fx.Node, head: int) -> str:
        used = {parameter.name for _, parameter in self.writer.parameters}
        if any(operand in self.region for operand in self.flow.operands(reader)):
            values = sum(parameter.name.startswith("v") for _, parameter in self.writer.parameters)
            return f"v{values + 1}" if values else "v"
        free = [name for name in ("q", "k", "v") if name not in used]
        if not free:
            raise RefusedError(f"`{reader.name}` is another product; accepted: one of the scores")
        return free[0]

    def _check_head(self, source: fx.Node, size: Any) -> None:
        if isinstance(size, int) and not 0 < size <= MAX_HEAD:
            message = f"`{source.name}` has a head dimension of {size}; accepted: 1 to {MAX_HEAD}"
            raise RefusedError(message)

    def _product(self, node: fx.Node, lhs: Any, rhs: Any) -> str:
        if any(not is_tensor(side) or tensor(side).dim() < 2 for side in (lhs, rhs)):
            raise RefusedError(f"`{node.name}` has an operand of rank 1; accepted: rank 2 and more")
        # The head dim of an operand: the summed one of the scores, the free one of the values.
        inner = self._inner(node, lhs, rhs)
        left = self._factor(node, lhs, -2 if inner[1] else -1)
        right = self._factor(node, rhs, -1 if inner[0] else -2)
        return self._multiply(node, left, right)

    def _inner(self, node: fx.Node, lhs: fx.Node, rhs: fx.Node) -> tuple[bool, bool]:
        """Which of the two operands of a product is a value of the chain."""
        inner = tuple(self.flow.read(node, side) in self.region for side in (lhs, rhs))
        if all(inner):
            raise RefusedError(f"`{node.name}` multiplies two values of the chain; accepted: one")
        return inner[0], inner[1]

    def _multiply(self, node: fx.Node, left: str, right: str) -> str:
        write = self.writer
        left, right = factors(write, node, left, right)
        rows, columns = write.types[left].dims[-2], write.types[right].dims[-1]
        self._summed[node] = write.types[left].dims[-1]
        write.pairs.append((self._summed[node], write.types[right].dims[-2]))
        write.align(write.types[left].dims[:-2], write.types[right].dims[:-2])
        dims = (*write.broadcast(left, right, drop=2), rows, columns)
        return write.add("matmul", TensorType("f32", dims), left, right)

    def _einsum(self, node: fx.Node, call: Call) -> str:
        equation, lhs, rhs = read_einsum(node, call)
        heads = head_dims(equation, self._inner(node, lhs, rhs))
        left, right = (self._factor(node, *of) for of in zip((lhs, rhs), heads, strict=True))
        multiply = partial(self._multiply, node)
        return write_einsum(self.writer, equation, left, right, multiply)

    def _matmul(self, node: fx.Node, call: Call) -> str:
        lhs = call.get("input")
        return self._product(node, lhs, call.get("other"))

    def _baddbmm(self, node: fx.Node, call: Call) -> str:
        """``beta · input + alpha · batch1 @ batch2``; an input times a literal 0 is not read."""
        value = self._product(node, call.get("batch1"), call.get("batch2"))
        alpha, beta = call.get("alpha", 1), call.get("beta", 1)
        if isinstance(alpha, fx.Node) or alpha != 1:
            value = self.writer.op("mul", value, self._operand(node, alpha))
        if not isinstance(beta, fx.Node) and beta == 0:
            return value
        added = self._operand(node, call.get("input"))
        if isinstance(beta, fx.Node) or beta != 1:
            added = self.writer.op("mul", added, self._operand(node, beta))
        return self.writer.op("add", value, added)

    def _triangle(self, node: fx.Node, call: Call) -> str:
        value, diagonal = self._operand(node, call.get("input")), call.get("diagonal", 0)
        return triangle(self.writer, call.op, value, self._operand(node, diagonal))

    def _sdpa(self, node: fx.Node, call: Call) -> str:
        def factor(name: str) -> str:
            return self._factor(node, call.get(name), -1)

        return sdpa(node, call, self.writer, factor, lambda arg: self._operand(node, arg))


def unknown(node: fx.Node) -> str:
    """The reason for an op that no row of the table covers."""
    return (
        f"`{node.name}` ({spelled(node)}) is not taken; accepted between the products: elementwise "
        "ops, casts, views, softmax and reductions, dropout that is off"
    )
