"""Subgraph, the data-flow IR: a DAG of tensor operations that will become one kernel.

Grammar of the printed form (``ir/text/subgraph.py`` prints and parses it)::

    subgraph ::= "subgraph @" name axis* node*
    axis     ::= "axis" name ("=" int)?         a static size is compiled in, others are not
    node     ::= "%" name "=" op operands attrs ":" type
    type     ::= dtype dim*
    dim      ::= "[" axis* "]"                     a product of axes, outer to inner; [] has size 1
    dtype    ::= the name of a row of ``ELEMENT_TYPES``

Narrow types (``bf16``, ``f16``, ``i8``, …) are what memory holds: conversions, moves and layout
operations have them, and products, sums of which are ``f32`` whatever their operands are;
everything else computes ``f32``. Whole numbers of 32 or 64 bits (``i32``, ``i64``) are indices.

Every dimension of every value is a *product of named axes*. A head merge ``[B, S, H*D]`` is
``[b][s][h d]``; ``repeat_kv`` gives ``[b][hk g][n][d]``. Two forms share the classes:

**Positional** (what a tokenizer builds): operands align as in NumPy, from the last dimension.
Each dimension of each Parameter has an axis of its own; Canonicalization finds which are equal.

**Canonical** (after ``passes/graph``): axes are shared by name, operands align by name, and the
positional operations (matmul, sdpa, softmax, transpose, view, unsqueeze, expand) are gone.
Only ``parameter`` and ``result`` keep several dimensions of several axes: their memory layout.

Operations (``%a %b`` are operands, ``{…}`` attributes):

==============  ===============================================================================
parameter       a tensor of the call. ``{ones=(dim, …)}``: dims whose traced size is 1;
                ``{block=(axis, size)}``: so many neighbours lie innermost in memory, and the
                dim of the axis counts blocks; what the last has too much means nothing
                ``{parts=((dim, …), ((axis, (part, …)), …))}``: its dims in the call, in finer
                axes than those of the type, and the parts of these, some of which may have
                known sizes (``ir/parts.py``)
scalar          one number of the call (a constant of the model, a SymFloat, a 1-element tensor)
                ``{counted}``: it is added to indices, which float32 must hold
constant        ``{value}`` one number that is part of the structure
iota            ``{axis}`` the index along an axis, i32, type ``[axis]``
gather %t %i    ``{axis}`` of a parameter the elements whose index along an axis is ``%i``, whole
                numbers of a parameter; their dims stand in the place of the axis, which is a dim of
                its own. An index that is negative or too large is an error of the call
result %a       ``{order}`` the dims from outermost to innermost in memory; a result of the call;
                ``{block}`` likewise
elementwise     any row of ``ir/operations.py``
brgemm %a %b    ``{over=(axis, …)}`` sum of products over axes                      canonical
reduce %a       ``{monoid, over=(axis, …)}``                                        canonical
matmul %a %b    ``[… m k] × [… k n]``                                               positional
reduce_dims %a  ``{monoid, dims=(int, …), keepdim}``                                positional
softmax %a      ``[%t] {dim}`` (negative); %t is one more column, not in the result positional
sdpa %q %k %v   ``[%mask] [%scale] {mask, scale, causal, gqa: bool}``               positional
transpose %a    ``{order}`` output dim i is input dim order[i]                      positional
view %a         splits and merges dims; the type says how                           positional
unsqueeze %a    ``{dim}``                                                           positional
expand %a       dims ``[]`` become dims with a (new) axis; the type says which      positional
==============  ===============================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from snipjit.errors import VerificationError
from snipjit.ir.element_types import Typed
from snipjit.ir.subgraph_operations import misspelt

Dim = tuple[str, ...]

Block = tuple[str, int]
"""An axis, and how many neighbours along it lie innermost in memory."""


class Dimensioned(Typed):
    """What has an element type, and dims that are products of axes."""

    dims: tuple[Dim, ...]

    @property
    def axes(self) -> tuple[str, ...]:
        """Every axis, as the dims list them, outer to inner."""
        return tuple(axis for dim in self.dims for axis in dim)


@dataclass(frozen=True)
class TensorType(Dimensioned):
    """Element type and dimensions of a value; each dimension is a product of axes."""

    dtype: str
    dims: tuple[Dim, ...] = ()

    @staticmethod
    def of(dtype: str, *axes: str) -> TensorType:
        """A type with one axis a dimension; ``""`` gives a dimension of size 1."""
        return TensorType(dtype, tuple((axis,) if axis else () for axis in axes))


@dataclass(frozen=True)
class Node:
    """One operation and the single value it defines.

    Raises VerificationError for an operation or an attribute that does not exist.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    type: TensorType
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (wrong := misspelt(self.op, self.attrs)) is not None:
            raise VerificationError(f"%{self.name} ({self.op}): {wrong}")

    def with_inputs(self, renames: Mapping[str, str]) -> Node:
        """This node with operands replaced."""
        return replace(self, inputs=tuple(renames.get(name, name) for name in self.inputs))


@dataclass(frozen=True)
class Subgraph:
    """An ordered DAG of nodes: operands stand before their users, results last."""

    name: str
    axes: Mapping[str, int | None]
    nodes: tuple[Node, ...]

    def __getitem__(self, name: str) -> Node:
        return self.by_name[name]

    @cached_property
    def by_name(self) -> dict[str, Node]:
        """Every node under its name."""
        return {node.name: node for node in self.nodes}

    def of(self, *ops: str) -> list[Node]:
        """The nodes of the given operations, in order."""
        return [node for node in self.nodes if node.op in ops]

    @property
    def parameters(self) -> list[Node]:
        """Tensors of the call, in call order."""
        return self.of("parameter")

    @property
    def scalars(self) -> list[Node]:
        """Numbers of the call, in call order."""
        return self.of("scalar")

    @property
    def results(self) -> list[Node]:
        """The results, in call order."""
        return self.of("result")

    def kept_axes(self) -> list[str]:
        """The axes that every product, reduction and result keeps, in this order: rows last."""
        anchors, reduced = self.of("brgemm", "reduce", "result"), self.reduced_axes()
        kept = (axis for axis in self.axes if axis not in reduced)
        return [axis for axis in kept if all(axis in node.type.axes for node in anchors)]

    def row_axes(self) -> list[str]:
        """The axis of rows, the last one that is kept, if there is one."""
        return self.kept_axes()[-1:]

    def reduced_axes(self) -> set[str]:
        """The axes that some product or reduction goes over."""
        return {axis for node in self.nodes for axis in node.attrs.get("over", ())}

    def users(self) -> dict[str, list[Node]]:
        """The nodes that read each value."""
        users: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users[name].append(node)
        return users

    def with_nodes(self, nodes: Iterable[Node]) -> Subgraph:
        """The same Subgraph with other nodes, in the order given."""
        return replace(self, nodes=tuple(nodes))


class SubgraphBuilder:
    """Builds a Subgraph node by node; each method returns the name of the value it adds.

    >>> build = SubgraphBuilder("softmax", n=None, m=None)
    >>> x = build.add("parameter", TensorType.of("f32", "m", "n"))
    >>> y = build.add("softmax", TensorType.of("f32", "m", "n"), x, dim=-1)
    >>> _ = build.result(y)
    >>> len(build.subgraph().nodes)
    3
    """

    def __init__(self, name: str, **axes: int | None) -> None:
        self.name = name
        self.axes: dict[str, int | None] = dict(axes)
        self.nodes: list[Node] = []
        self._types: dict[str, TensorType] = {}

    def add(
        self, op: str, type: TensorType, *inputs: str, name: str | None = None, **attrs: Any
    ) -> str:
        """Add a node; unnamed ones are numbered. Unknown axes of its type become dynamic axes."""
        name = name or str(len(self.nodes))
        for axis in type.axes:
            self.axes.setdefault(axis, None)
        self.nodes.append(Node(name, op, inputs, type, attrs))
        self._types[name] = type
        return name

    def type(self, name: str) -> TensorType:
        """The type of a value added before."""
        return self._types[name]

    def result(
        self, value: str, order: tuple[int, ...] | None = None, name: str | None = None
    ) -> str:
        """Add a result with the memory order of its dims (default: as its type lists them)."""
        type = self._types[value]
        order = order if order is not None else tuple(range(len(type.dims)))
        return self.add("result", type, value, name=name, order=order)

    def subgraph(self) -> Subgraph:
        """The finished Subgraph."""
        return Subgraph(self.name, dict(self.axes), tuple(self.nodes))
