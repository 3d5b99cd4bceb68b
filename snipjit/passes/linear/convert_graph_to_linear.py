"""ConvertGraphToLinear: from the canonical Subgraph to a flat list of Expressions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import networkx as nx

from snipjit.errors import UnsupportedError
from snipjit.ir.dequantized import Dequantized, dequantized, factor
from snipjit.ir.expression import Expression, ValueType
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.operations import kind_of
from snipjit.ir.parts import Parts
from snipjit.ir.schedule import SYNTHETIC_LANES, Schedule
from snipjit.ir.subgraph import Node, Subgraph
from snipjit.ir.tensors import Tensor
from snipjit.passes.base import Pass
from snipjit.target.target_machine import TargetMachine


@dataclass(frozen=True)
class ConvertGraphToLinear(Pass):
    """One Expression a node, in topological order; choose the lanes axes.

    By rows, the one lanes axis survives in every product, reduction and result, so that nothing is
    ever combined across lanes; of the axes that do, it is the last in the Subgraph's order. A graph
    without one gets an axis of size 1, and its kernel is scalar. By columns, all axes that do not
    survive are lanes axes, first those that values carry and reductions remove. By outputs, these
    and the innermost axis of the results are, each behind those over which products make it. By
    features, what is innermost in the tensor of most axes is the one lanes axis.

    What is gathered is loaded by index, from here on.

    Products of 16-bit factors are products of pairs where the target has those; a computed factor
    of more bits is one that the model rounds. An input of more bits is used as it is, in f32.

    Before:  %s = brgemm %q %k {over=(d)} : f32[b m n]
             %y = result %s {order=(0, 1, 2)}
    After:   linear @g lanes m x 16
             %s = brgemm %q %k {over=(d)} : f32[b n m]
             store %y %s
    """

    target: TargetMachine
    schedule: Schedule = Schedule.ROWS

    def run(self, subgraph: Subgraph) -> LinearIR:
        """The LinearIR of a canonical Subgraph."""
        axes = dict(subgraph.axes)
        kept = subgraph.kept_axes()
        lanes = tuple(axes_of_rows(subgraph)[-1:]) or (SYNTHETIC_LANES,)
        if self.schedule is Schedule.COLUMNS:
            lanes = tuple(column_axes(subgraph))
        elif self.schedule.by_outputs:
            lanes = tuple(output_axes(subgraph))
            if not lanes:
                raise UnsupportedError("no order of axes has what each product sums over in front")
        elif self.schedule is Schedule.FEATURES:
            lanes = feature_axes(subgraph)
        for axis in lanes:
            axes.setdefault(axis, None)
        lir = LinearIR(
            name=subgraph.name,
            lanes=lanes,
            width=self.target.lanes,
            axes={**dict.fromkeys(kept, None), **{a: n for a, n in axes.items() if a not in kept}},
            inputs=[_input(n) for n in subgraph.parameters],
            outputs=[_output(n) for n in subgraph.results],
            scalars=[n.name for n in subgraph.scalars],
            body=[],
        )
        read = factors_of(subgraph)
        inside = {name for found in read.values() for name in found.nodes}
        lir.inputs = [_loaded_as(tensor, read.values()) for tensor in lir.inputs]
        lir.body = [
            self._expression(lir, _reading(node, read), subgraph)
            for node in subgraph.nodes
            if node.op not in ("parameter", "scalar") and node.name not in inside
        ]
        return lir

    def _expression(self, lir: LinearIR, node: Node, subgraph: Subgraph) -> Expression:
        type = ValueType(node.type.dtype, lir.sort_axes(node.type.axes))
        if node.op == "result":
            source = subgraph[node.inputs[0]]
            if source.op in ("parameter", "gather"):  # of a narrow type it is loaded as another
                type = replace(type, dtype=source.type.element.register)
            return Expression("store", None, (node.name, *node.inputs), type)
        if node.op == "gather":  # of a narrow type it is loaded as another
            type = replace(type, dtype=node.type.element.register)
            return Expression("load", node.name, node.inputs, type, node.attrs)
        op = "fill" if node.op == "constant" else node.op
        attrs = dict(node.attrs)
        if op == "brgemm" and self._is_in_pairs(lir, node, subgraph):
            (attrs["pairs"],) = node.attrs["over"]
        return Expression(op, node.name, node.inputs, type, attrs)

    def _is_in_pairs(self, lir: LinearIR, node: Node, subgraph: Subgraph) -> bool:
        dtypes = {subgraph[name].type.dtype for name in node.inputs}
        sources = [_loaded(subgraph, name) for name in node.inputs]
        tensors = [lir.tensors[name] for name in sources if name in lir.tensors]
        narrow = all(tensor.dtype in self.target.pairs for tensor in tensors)
        if len(node.attrs["over"]) != 1 or not narrow or not dtypes & {*self.target.pairs}:
            return False
        if self.schedule is Schedule.ROWS:
            return {*lir.lanes} <= {*node.type.axes}
        (axis,) = node.attrs["over"]
        return all(_has_vectors_of_pairs(lir, tensor, axis) for tensor in tensors)


def _loaded(subgraph: Subgraph, name: str) -> str:
    """What a value is loaded from, if a cast is all that stands between."""
    node = subgraph[name]
    return node.inputs[0] if kind_of(node.op) == "cast" else name


def _has_vectors_of_pairs(lir: LinearIR, tensor: Tensor, axis: str) -> bool:
    """Whether whole vectors can be loaded, and no pair has but one half in the tensor."""
    unit = tensor.unit_axis
    even = unit != axis or (lir.axes[axis] or 1) % 2 == 0
    return even and lir.vector_axis(tensor.axes) == unit


def axes_of_rows(subgraph: Subgraph) -> list[str]:
    """The axes that are kept; of linear layers not those of columns."""
    kept = subgraph.kept_axes()
    units = {_output(node).unit_axis for node in subgraph.results}
    rows = [axis for axis in kept if axis not in units]
    return rows if rows and are_layers(subgraph) else kept


def factors_of(subgraph: Subgraph) -> dict[str, Dequantized]:
    """By the names of factors that are made of integers: how, where loads can do that.

    Nothing but products reads them, and all make the same of a tensor.
    """
    users, found = subgraph.users(), dict[str, Dequantized]()
    for name in dict.fromkeys(name for node in subgraph.of("brgemm") for name in node.inputs):
        if (made := dequantized(subgraph, name)) is not None:
            found[name] = made
    inside = {name for made in found.values() for name in made.nodes}
    weights = [made.weight for made in found.values()]
    return {
        name: made
        for name, made in found.items()
        if weights.count(made.weight) == 1
        and all(
            user.name in inside or user.op == "brgemm"
            for one in (made.weight, *made.nodes)
            for user in users[one]
        )
    }


def _reading(node: Node, read: Mapping[str, Dequantized]) -> Node:
    """A product that reads the tensors that its factors are made of."""
    return node.with_inputs({name: made.weight for name, made in read.items()})


def _loaded_as(tensor: Tensor, read: Collection[Dequantized]) -> Tensor:
    """A tensor with what loads make of it."""
    steps = next((made.steps for made in read if made.weight == tensor.name), ())
    return replace(tensor, steps=steps)


def are_layers(subgraph: Subgraph) -> bool:
    """Whether products multiply tensors of the call, and nothing else is summed."""
    factors = [factor(subgraph, name) for node in subgraph.of("brgemm") for name in node.inputs]
    alone = all(node.op == "parameter" for node in factors)
    return bool(factors) and alone and not subgraph.of("reduce")


def column_axes(subgraph: Subgraph) -> list[str]:
    """The axes that are not kept, first those that values carry and reductions remove."""
    kept, reduced = subgraph.kept_axes(), subgraph.reduced_axes()
    computed = {axis for node in subgraph.of("brgemm") for axis in node.type.axes}
    others = [axis for axis in subgraph.axes if axis not in kept]
    return sorted(others, key=lambda axis: axis not in reduced & computed)


def feature_axes(subgraph: Subgraph) -> tuple[str, ...]:
    """What is innermost in memory of the tensor of most axes, a result before a parameter."""
    tensors = [*map(_output, subgraph.results), *map(_input, subgraph.parameters)]
    most = max(tensors, key=lambda tensor: len(tensor.axes))
    return (most.unit_axis or SYNTHETIC_LANES,)


def output_axes(subgraph: Subgraph) -> list[str]:
    """The axes that are not kept, and what is innermost in the results.

    What a product sums over comes in front of what it makes. None, where there is no such order.
    """
    units = {_output(node).unit_axis for node in subgraph.results}
    kept = {*subgraph.kept_axes()} - units
    chosen = [axis for axis in subgraph.axes if axis not in kept]
    order = nx.DiGraph()
    order.add_nodes_from(chosen)
    for node in subgraph.of("brgemm"):
        made = [axis for axis in node.type.axes if axis in chosen]
        order.add_edges_from((summed, axis) for summed in node.attrs["over"] for axis in made)
    if not nx.is_directed_acyclic_graph(order):
        return []
    return list(nx.lexicographical_topological_sort(order, key=chosen.index))


def _input(node: Node) -> Tensor:
    block, parts = node.attrs.get("block"), Parts.of(node.attrs)
    return Tensor(node.name, node.type.dtype, node.type.dims, block=block, parts=parts)


def _output(node: Node) -> Tensor:
    order, block = tuple(node.attrs["order"]), node.attrs.get("block")
    return Tensor(node.name, node.type.dtype, node.type.dims, order, block, Parts.of(node.attrs))
