"""Scores with one more column (an attention sink), which softmax takes in and a slice drops.

The column never joins the scores: each op on the joined tensor is done to both parts, a reduction
over it combines the two, and softmax is told of the column.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from torch import fx

from snipjit.passes.fx.graph.value_flow import ValueFlow
from snipjit.passes.fx.lift.expand_elementwise import expand_elementwise, is_elementwise
from snipjit.passes.fx.lift.layouts import apply_layout
from snipjit.passes.fx.lift.rotations import halves_of
from snipjit.passes.fx.lift.subgraph_writer import SubgraphWriter
from snipjit.passes.fx.nodes.calls import Call, lookup, spelled
from snipjit.passes.fx.nodes.refused import RefusedError
from snipjit.passes.fx.nodes.traced import (
    element_type,
    is_one,
    is_tensor,
    literal,
    normal_dim,
    same_count,
    tensor,
)

Operand = Callable[[fx.Node, Any], str]

JOINS = ("cat", "pad")
_FAR = 2**31


@dataclass(frozen=True)
class Columns:
    """The scores and one more column, the first or the last; None where softmax has used it up."""

    scores: str
    column: str | None
    first: bool


class ColumnTranslator:
    """Which values of a region have a column more, and their two parts."""

    def __init__(
        self,
        flow: ValueFlow,
        region: Collection[fx.Node],
        writer: SubgraphWriter,
        operand: Operand,
    ) -> None:
        self.flow = flow
        self.region = region
        self.writer = writer
        self._operand = operand
        self._found: dict[fx.Node, Columns | None] = {}

    def of(self, node: fx.Node) -> Columns | None:
        """The parts of a value, or None if it is one."""
        if node not in self.region:
            return None
        if node not in self._found:
            self._found[node] = self._translate(node, lookup(node))
        return self._found[node]

    def read(self, reader: fx.Node, argument: Any) -> Columns | None:
        """The parts of an operand, or None if it is one value."""
        if not isinstance(argument, fx.Node):
            return None
        return self.of(self.flow.read(reader, argument))

    def without(self, node: fx.Node, call: Call) -> str | None:
        """The value of a slice that drops the column again, or None if nothing has one."""
        source = call.get("input")
        columns = self.read(node, source)
        if columns is None or self.of(node) is not None:
            return None
        start, end = _last_slice(node, call, tensor(source).dim())
        if (start, end) != ((1, None) if columns.first else (0, -1)):
            raise RefusedError(
                f"`{node.name}` selects columns; accepted: all but the one that `cat` added"
            )
        return columns.scores

    def _translate(self, node: fx.Node, call: Call | None) -> Columns | None:
        if call is not None and call.op in JOINS:
            return None if halves_of(self.flow, node) else self._join(node, call)
        if call is not None and call.op in ("slice", "getitem"):
            columns = self.read(node, call.get("input"))
            whole = columns is not None and same_count(node, call.get("input"))
            return columns if whole else None
        if call is None or not (
            is_elementwise(call.op) or call.op in ("cast", "dropout", "softmax")
        ):
            return None
        sources = [self.read(node, source) for source in node.all_input_nodes]
        parts = [source for source in sources if source is not None]
        if not parts:
            return None
        if len({part.first for part in parts}) > 1:
            raise RefusedError(f"`{node.name}` has columns added on both sides; accepted: one")
        if element_type(node) == "i1":
            raise RefusedError(f"`{node.name}` is boolean and has a column more; accepted: floats")
        if call.op == "softmax":
            return self._softmax(node, call, parts[0])
        scores = self._apply(node, call, lambda part: part.scores)
        lost = any(part.column is None for part in parts)
        column = None if lost else self._apply(node, call, lambda part: part.column or "")
        return Columns(scores, column, parts[0].first)

    def _join(self, node: fx.Node, call: Call) -> Columns:
        """The parts of a ``cat`` of scores and one column, or of scores padded by one column."""
        element_type(node)
        if call.op == "pad":
            first = _padded_first(node, call)
            value = self._operand(node, call.get("value") or 0)
            scores = self.writer.to(self._operand(node, call.get("input")), "f32")
            return Columns(scores, value, first)
        parts = _two_parts(node, call)
        chain = [self.flow.read(node, part) in self.region for part in parts]
        single = [is_one(tensor(part).shape[-1]) for part in parts]
        columns = [i for i in (0, 1) if single[i] and (not single[1 - i] or chain[1 - i])]
        if len(columns) != 1:
            raise _refused(node)
        (column,) = columns
        scores, value = (self._operand(node, parts[i]) for i in (1 - column, column))
        scores, value = (self.writer.to(part, "f32") for part in (scores, value))
        return Columns(scores, value, column == 0)

    def _apply(self, node: fx.Node, call: Call, choose: Callable[[Columns], str]) -> str:
        """An elementwise op on one part of each operand."""

        def operand(argument: Any) -> str:
            part = self.read(node, argument)
            if part is not None:
                return choose(part)
            if is_tensor(argument) and tensor(argument).dim():
                if not is_one(tensor(argument).shape[-1]):
                    raise RefusedError(
                        f"`{node.name}` ({spelled(node)}) reads `{argument.name}`, which has a "
                        "column for the one that `cat` added; accepted: one number a row"
                    )
            return self._operand(node, argument)

        if is_elementwise(call.op):
            return expand_elementwise(call, self.writer, operand)
        part = apply_layout(node, call, self.writer, operand(call.get("input")))
        return self.writer.to(part, "f32")

    def _softmax(self, node: fx.Node, call: Call, part: Columns) -> Columns:
        write, rank = self.writer, tensor(node).dim()
        dim = call.get("dim")
        if part.column is None or not _is_last(dim, rank):
            raise RefusedError(f"`{node.name}` goes over dim {dim}; accepted: the last, once")
        _, says = write.broadcast(part.scores, part.column, drop=1)
        type = write.types[part.scores]
        weights = write.add("softmax", type, part.scores, part.column, says=says, dim=-1)
        return Columns(weights, None, part.first)


def _is_last(dim: object, rank: int) -> bool:
    return (known := literal(dim)) is not None and normal_dim(known, rank) == rank - 1


def _two_parts(node: fx.Node, call: Call) -> list[fx.Node]:
    """The two tensors that a ``cat`` joins in the last dim."""
    parts, last = call.get("tensors"), _is_last(call.get("dim", 0), tensor(node).dim())
    if not last or not isinstance(parts, list | tuple) or len(parts) != 2:
        raise _refused(node)
    return list(parts)


def _padded_first(node: fx.Node, call: Call) -> bool:
    """Whether a pad adds its one column before the others."""
    pad = list(call.get("pad", ()))
    constant = call.get("mode", "constant") == "constant"
    if not constant or pad[:2] not in ([0, 1], [1, 0]) or any(pad[2:]):
        raise _refused(node)
    return bool(pad[0] == 1)


def _refused(node: fx.Node) -> RefusedError:
    return RefusedError(
        f"`{node.name}` ({spelled(node)}) adds to the scores; accepted: one column in the last "
        "dim, dropped after softmax"
    )


def _last_slice(node: fx.Node, call: Call, rank: int) -> tuple[Any, Any]:
    """From where to where a slice of the last dim goes; refused if other dims are sliced too."""
    if call.op == "slice":
        cut = slice(call.get("start"), call.get("end"), call.get("step"))
        index: list[Any] = [slice(None)] * rank
        index[call.get("dim", 0)] = cut
    else:
        given = call.get("index")
        index = list(given) if isinstance(given, tuple) else [given]
        if Ellipsis in index:
            place = index.index(Ellipsis)
            index[place : place + 1] = [slice(None)] * (rank - len(index) + 1)
    last = index[-1]
    whole = all(item == slice(None) for item in index[:-1])
    if len(index) != rank or not isinstance(last, slice) or not whole or last.step not in (None, 1):
        raise RefusedError(f"`{node.name}` selects elements; accepted: a slice of the last dim")
    end = None if isinstance(last.stop, int) and last.stop >= _FAR else last.stop
    return last.start or 0, end
