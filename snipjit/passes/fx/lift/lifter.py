"""Lifts a region of the graph, node by node, into values of a positional Subgraph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

from torch import fx

from snipjit.ir.subgraph import Dim
from snipjit.passes.fx.graph.head_scale import HeadScale
from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.graph.writes import WRITES
from snipjit.passes.fx.index.fills import fill_value
from snipjit.passes.fx.index.index_values import IndexValues
from snipjit.passes.fx.lift.dequantize import Dequantizer, has_groups, quantized_of
from snipjit.passes.fx.lift.expand_elementwise import expand_elementwise, is_elementwise
from snipjit.passes.fx.lift.gathers import GATHERS, GatherTranslator
from snipjit.passes.fx.lift.hidden_rows import softmax_with_zeros
from snipjit.passes.fx.lift.layouts import LAYOUTS, apply_layout
from snipjit.passes.fx.lift.operands import OperandLifter
from snipjit.passes.fx.lift.products import PRODUCTS, ProductLifter
from snipjit.passes.fx.lift.rotations import halves_of, join_halves
from snipjit.passes.fx.lift.side_inputs import SideInputs, met_shape
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.lift.translate_columns import JOINS, ColumnTranslator
from snipjit.passes.fx.lift.translate_normalizations import (
    NORMALIZATIONS,
    STATISTICS,
    NormalizationTranslator,
)
from snipjit.passes.fx.lift.translate_reductions import (
    REDUCTIONS,
    SOFTMAXES,
    TRUTHS,
    ReductionTranslator,
    dims_of,
)
from snipjit.passes.fx.lift.triangles import TRIANGLES, triangle
from snipjit.passes.fx.lift.writes import WriteTranslator
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError, Remembered
from snipjit.passes.fx.nodes.traced import (
    Size,
    converted_type,
    element_type,
    is_integer,
    is_number,
    is_one_integer,
    is_tensor,
    literal,
    tensor,
)


def is_chain_op(op: str) -> bool:
    """Whether a canonical op may stand between two products."""
    other = (*SOFTMAXES, *REDUCTIONS, *TRUTHS, *JOINS, *LAYOUTS, *TRIANGLES, *WRITES)
    return op in other or is_elementwise(op)


class Lifter:
    """The walk from results of a region up to what it reads.

    ``region`` are the nodes to lift; what they read from outside becomes scalars and parameters: of
    the operands of products, what is above the layout ops and the scaling there; of other tensors,
    with ``indices``, what is above those functions of indices that make them (masks). ``taken`` are
    nodes of other regions, which no parameter may be. ``check`` refuses sizes of features, which
    are those dims of operands that a product of two of them sums over, or that one with a computed
    value keeps; they are compiled in. Of factors that are ``is_fixed`` all sizes are.
    """

    def __init__(
        self,
        flow: ValueFlow,
        region: Collection[fx.Node],
        taken: Collection[fx.Node],
        check: Callable[[fx.Node, Size], None],
        indices: IndexValues | None = None,
        is_fixed: Callable[[fx.Node], bool] = lambda _: False,
    ) -> None:
        self.flow = flow
        self.region = region
        self.writer = SubgraphWriter()
        self.static: dict[str, Dim] = {}
        self.stands_for: dict[str, set[fx.Node]] = {}
        self.products = ProductLifter(self.writer, self.factor, self.operand, self._is_inside)
        self._check = check
        self._is_fixed = is_fixed
        self._operands = OperandLifter(flow, self.writer, taken)
        self._sides = SideInputs(flow, self.writer, indices, taken) if indices else None
        self._values = Remembered(self._lift)
        self._shared: dict[tuple[fx.Node, int, int | None], str] = {}
        self.columns = ColumnTranslator(flow, region, self.writer, self.operand)
        self.reductions = ReductionTranslator(self.writer, self.operand, self.columns)
        self.normalizations = NormalizationTranslator(self.writer, self.operand, self.reductions)
        self.gathers = GatherTranslator(flow, self.writer, region)
        self.writes = WriteTranslator(flow, region, self.writer, self.value, self.operand)

    def value(self, node: fx.Node) -> str:
        """The Subgraph value of a node of the region. RefusedError if it has none."""
        return self._values(node)

    def fix(self, value: str, dims: Iterable[int]) -> None:
        """Have the sizes of a value's dims compiled in, as far as parameters have them."""
        axes = self.writer.axes
        wanted = {axis for dim in dims for axis in axes.leaves(self.writer.types[value].dims[dim])}
        for axis in wanted:  # a symbol that is a number since a weight met it
            if (known := literal(axes.sizes[axis])) is not None:
                axes.sizes[axis] = known
        for parameter in self.writer.origins[value].parameters:
            own = axes.leaves(self.writer.types[parameter].axes)
            self.static[parameter] = tuple(axis for axis in own if axis in wanted)

    def sums_last(self, product: fx.Node, value: fx.Node) -> bool:
        """Whether a lifted product sums over the dim of a softmax, or over the last."""
        parts, call = self.columns.of(value), lookup(value)
        dims = self.writer.types[parts.scores if parts else self.value(value)].dims
        last = dims[dims_of(value, call)[0]] if call and call.op in SOFTMAXES else dims[-1]
        return self.writer.is_equal(self.products.summed[product], last)

    @property
    def has_indices(self) -> bool:
        """Whether side inputs were taken in."""
        return any(name not in self.static for name in self.stands_for)

    def _is_inside(self, reader: fx.Node, argument: Any) -> bool:
        return self.flow.read(reader, argument) in self.region

    def _lift(self, node: fx.Node) -> str:
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
        if call.op == "exp" and (found := self.reductions.exp(node, call)) is not None:
            return found
        if (weights := softmax_with_zeros(self.flow, node, call)) is not None:
            return self.reductions.softmax_with_zeros(weights)
        if is_elementwise(call.op):
            return expand_elementwise(call, self.writer, partial(self.operand, node))
        if (halves := halves_of(self.flow, node)) is not None:
            first, second = (self.operand(node, half) for half in halves)
            return join_halves(self.writer, first, second, self.static.__setitem__)
        if call.op in LAYOUTS:
            return self._layout(node, call)
        if call.op in PRODUCTS or call.op == "sdpa":
            return self.products.lift(node, call)
        if call.op in TRIANGLES:
            value, diagonal = self.operand(node, call.get("input")), call.get("diagonal", 0)
            return triangle(self.writer, call.op, value, self.operand(node, diagonal))
        if call.op in (*REDUCTIONS, *TRUTHS, *SOFTMAXES):
            return self.reductions.translate(node, call)
        if call.op in (*STATISTICS, *NORMALIZATIONS):
            return self.normalizations.translate(node, call)
        if call.op in GATHERS:
            return self.gathers.translate(node, call)
        if call.op in WRITES:
            return self.writes.translate(node, call)
        raise RefusedError(unknown(node))

    def _layout(self, node: fx.Node, call: Call) -> str:
        if (rest := self.columns.without(node, call)) is not None:
            return rest
        source = self.operand(node, call.get("input"))
        if call.op != "getitem" or is_tensor(call.get("input")):
            return apply_layout(node, call, self.writer, source)
        # Of a reduction that gives values and indices.
        if call.get("index") != 0:
            raise RefusedError(f"`{node.name}` takes indices; accepted: values")
        return source

    def operand(self, reader: fx.Node, argument: Any) -> str:
        """The value of an operand that is no factor of a product."""
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
        return self._side_input(reader, argument)

    def _side_input(self, reader: fx.Node, argument: fx.Node) -> str:
        if self._sides is not None and is_tensor(argument):
            shape = met_shape(self.flow, reader, self.region)
            value = self._sides.value(argument, shape) if shape is not None else None
            if value is not None:
                producers = self._sides.producers(argument, value)
                self.stands_for.setdefault(value, set()).update(producers)
                return value
        if is_integer(argument) and is_tensor(reader) and element_type(reader) == "f32":
            return self.writer.side_input(argument, "f32")
        is_cast = is_tensor(argument) and _is_cast(reader)
        return self.writer.side_input(argument, converted_type(argument) if is_cast else None)

    def factor(
        self,
        reader: fx.Node,
        argument: Any,
        feature: int,
        single: int | None,
        shared: bool = False,
    ) -> str:
        """A factor of a product; from outside it has a parameter of its own, or a shared one.

        ``feature`` is its dim whose size is compiled in, ``single`` one that must be of one axis.
        """
        source = self.flow.read(reader, argument)
        if source in self.region:
            return self.value(source)
        others = (other for other in self.flow.operands(reader) if other is not source)
        if any(has_groups(self.flow, other) for other in others):
            single = feature  # groups are parts of it, which nothing else tells apart
        if shared and (source, feature, single) in self._shared:
            return self._shared[source, feature, single]
        if self._is_fixed(source) and quantized_of(self.flow, source) is not None:
            return self._dequantized(source, feature)
        value, parameter, absorbed = self._operands.lift(source, feature, single, shared)
        dim = self.writer.types[value].dims[feature]
        self._check(source, self.writer.axes.size(dim))
        self.stands_for[parameter] = absorbed
        fixed = self.writer.types[value].dims if self._is_fixed(source) else (dim,)
        self.static[parameter] = tuple(axis for dim in fixed for axis in dim)
        if shared:
            self._shared[source, feature, single] = value
        return value

    def _dequantized(self, source: fx.Node, feature: int) -> str:
        """A weight that is made of integers, with the parameters that it is made of."""
        made = Dequantizer(self.flow, self.writer, source)
        value = made.lift()
        self._check(source, self.writer.axes.size(self.writer.types[value].dims[feature]))
        for parameter in made.parameters:
            self.stands_for[parameter] = made.absorbed
            self.static[parameter] = self.writer.axes.leaves(self.writer.types[parameter].axes)
        return value


def _is_cast(node: fx.Node) -> bool:
    call = lookup(node)
    return call is not None and call.op == "cast"


def unknown(node: fx.Node) -> str:
    """The reason for an op that no row of the table covers."""
    return (
        f"`{node.name}` ({spelled(node)}) is not taken; accepted between the products: elementwise "
        "ops, casts, views, softmax and reductions, dropout that is off"
    )
