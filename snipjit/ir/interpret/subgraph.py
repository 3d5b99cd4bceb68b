"""The NumPy meaning of a Subgraph in any of its forms: what every pass is compared with.

Values are arrays of the dims of their type, where size 1 stands for a dim that broadcasts. While
positional operations are left, elementwise functions align dims from the last one, as NumPy does;
when they are gone, by name. The sizes of axes follow from the shapes of the call's tensors; those
of axes that ``expand`` adds follow from the dims they meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod, sqrt
from typing import Any

import numpy as np

from snipjit.errors import InputError
from snipjit.ir.axis_arrays import align, gathered, in_blocks, view_by_axes, without_blocks
from snipjit.ir.element_types import Array, round_to
from snipjit.ir.interpret.sizes import axis_sizes
from snipjit.ir.operations import ELEMENTWISE, MONOIDS
from snipjit.ir.parts import Parts
from snipjit.ir.subgraph import Dim, Node, Subgraph, TensorType

POSITIONAL = (
    "matmul", "reduce_dims", "softmax", "sdpa", "transpose", "view", "unsqueeze", "expand"
)  # fmt: skip


def interpret(
    subgraph: Subgraph,
    tensors: Sequence[Array],
    scalars: Sequence[float] = (),
    dtype: type[np.floating[Any]] = np.float64,
) -> list[Array]:
    """The results for parameters and scalars in call order; ``f32`` is computed as ``dtype``,
    and values of narrow types are rounded to them.

    Raises InputError for inputs that do not fit.
    """
    expected = len(subgraph.parameters), len(subgraph.scalars)
    if (len(tensors), len(scalars)) != expected:
        raise InputError(
            f"{subgraph.name} takes {expected[0]} tensors and {expected[1]} scalars, "
            f"got {len(tensors)} and {len(scalars)}"
        )
    with np.errstate(all="ignore"):
        machine = _Machine(subgraph, tensors, scalars, np.dtype(dtype))
        return [
            in_blocks(machine.values[node.name], node.type.dims, node.attrs.get("block"))
            for node in subgraph.results
        ]


class _Machine:
    """The values of one call."""

    def __init__(
        self,
        subgraph: Subgraph,
        tensors: Sequence[Array],
        scalars: Sequence[float],
        dtype: np.dtype[Any],
    ) -> None:
        self.types = {node.name: node.type for node in subgraph.nodes}
        self.positional = bool(subgraph.of(*POSITIONAL))
        self.sizes = axis_sizes(subgraph, [array.shape for array in tensors])
        self.held = {"f32": dtype, "i1": np.dtype(np.bool_)}
        self.held |= dict.fromkeys(("i32", "i64"), np.dtype(np.int64))
        self.values: dict[str, Array] = {}
        given = [*zip(subgraph.parameters, tensors, strict=True)]
        given += [(node, np.asarray(x)) for node, x in zip(subgraph.scalars, scalars, strict=True)]
        for node, array in given:
            self._define(node, self._given(node, array))
        for node in subgraph.nodes:
            if node.op not in ("parameter", "scalar"):
                self._define(node, self._evaluate(node))

    def _given(self, node: Node, array: Array) -> Array:
        """What a call gives for a parameter or scalar, as the dims of its type say."""
        if (parts := Parts.of(node.attrs)) is None:
            return without_blocks(array, node.type.dims, node.attrs.get("block"), self.sizes)
        whole = view_by_axes(array, node.type.dims, self.sizes, parts=parts)
        return whole.reshape([self.size(dim) for dim in node.type.dims])

    def _define(self, node: Node, value: Any) -> None:
        typed = np.asarray(value).astype(self.held[node.type.element.register])
        self.values[node.name] = round_to(node.type.dtype, typed)

    def _evaluate(self, node: Node) -> Any:
        if node.op in ELEMENTWISE:
            return self._elementwise(node)
        if node.op in BY_NAME:
            return BY_NAME[node.op](self, node)
        return BY_POSITION[node.op](self, node, *(self.values[name] for name in node.inputs))

    def named(self, name: str) -> Array:
        """A value with one dimension an axis, each of full size."""
        return view_by_axes(self.values[name], self.types[name].dims, self.sizes)

    def merged(self, array: Array, own: tuple[str, ...], type: TensorType) -> Array:
        """An array with dimensions ``own`` brought to the dims of a type."""
        aligned = align(array, own, type.axes)
        whole = np.broadcast_to(aligned, [self.sizes[axis] for axis in type.axes])
        return whole.reshape([self.size(dim) for dim in type.dims])

    def size(self, dim: Dim) -> int:
        """The number of elements along a dim."""
        return prod(self.sizes[axis] for axis in dim)

    def stretched(self, array: Array, dims: Sequence[Dim]) -> Array:
        """An array with every broadcast dim at full size; missing leading dims are added."""
        sizes = (1,) * (len(dims) - array.ndim) + array.shape
        shape = [self.size(dim) if n == 1 else n for dim, n in zip(dims, sizes, strict=True)]
        return np.broadcast_to(array, shape)

    def _elementwise(self, node: Node) -> Array:
        # The row of to_f32 rounds to 32 bits; here f32 may stand for a wider type.
        row = ELEMENTWISE[node.op].numpy
        function: Callable[..., Array] = _identity if node.op == "to_f32" else row
        own = [self.types[name].axes for name in node.inputs]
        axes = node.type.axes
        if self.positional or not all(set(a) <= set(axes) for a in own):
            return function(*(self.values[name] for name in node.inputs))
        pairs = zip(node.inputs, own, strict=True)
        aligned = [align(self.named(name), have, axes) for name, have in pairs]
        return self.merged(function(*aligned), axes, node.type)


def _identity(array: Array) -> Array:
    return array


def _brgemm(machine: _Machine, node: Node) -> Array:
    number = {axis: index for index, axis in enumerate(machine.sizes)}
    operands: list[Any] = []
    for name in node.inputs:
        axes = machine.types[name].axes
        operands += [machine.named(name), [number[axis] for axis in axes]]
    own = node.type.axes
    return machine.merged(np.einsum(*operands, [number[axis] for axis in own]), own, node.type)


def _reduce(machine: _Machine, node: Node) -> Array:
    (name,) = node.inputs
    axes, over = machine.types[name].axes, node.attrs["over"]
    dims = tuple(axes.index(axis) for axis in over)
    reduced = _combine(node.attrs["monoid"], machine.named(name), dims, keepdim=False)
    return machine.merged(reduced, tuple(axis for axis in axes if axis not in over), node.type)


def _gather(machine: _Machine, node: Node) -> Array:
    (table, index), axes = node.inputs, node.type.axes
    own, others = (machine.types[name].axes for name in node.inputs)
    arrays = machine.named(table), own, machine.named(index), others
    return machine.merged(gathered(*arrays, node.attrs["axis"], axes), axes, node.type)


def _combine(monoid: str, array: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    row = MONOIDS[monoid]
    reduced: Array = row.numpy(array, axis=dims, keepdims=keepdim, initial=row.identity)
    return reduced


def _result(machine: _Machine, node: Node) -> Array:
    (name,) = node.inputs
    type = machine.types[name]
    if type.dims == node.type.dims:
        return machine.stretched(machine.values[name], type.dims)
    found = machine.merged(machine.named(name), type.axes, node.type)
    parts = Parts.of(node.attrs)
    return found if parts is None else found.reshape([machine.size(dim) for dim in parts.dims])


def _constant(machine: _Machine, node: Node) -> Array:
    return np.full([1] * len(node.type.dims), node.attrs["value"])


def _view(machine: _Machine, node: Node, array: Array) -> Array:
    sizes: dict[str, int] = {}
    for dim, n in zip(machine.types[node.inputs[0]].dims, array.shape, strict=True):
        whole = n if len(dim) == 1 else 1
        sizes |= {a: machine.sizes[a] if len(dim) > 1 and n != 1 else whole for a in dim}
    return array.reshape([prod(sizes[axis] for axis in dim) for dim in node.type.dims])


def _reduce_dims(machine: _Machine, node: Node, array: Array) -> Array:
    dims = tuple(index % array.ndim for index in node.attrs["dims"])
    full = machine.stretched(array, machine.types[node.inputs[0]].dims)
    return _combine(node.attrs["monoid"], full, dims, node.attrs["keepdim"])


def _softmax(machine: _Machine, node: Node, array: Array, *column: Array) -> Array:
    dim, hidden = node.attrs["dim"], node.attrs.get("hidden") == "zero"
    if not column:
        return softmax(array, dim, hidden_zero=hidden)
    full = machine.stretched(array, node.type.dims)
    shape = list(full.shape)
    shape[dim] = 1
    joined = np.concatenate([np.broadcast_to(column[0], shape), full], dim)
    return np.delete(softmax(joined, dim, hidden_zero=hidden), 0, dim)


def softmax(x: Array, dim: int, hidden_zero: bool) -> Array:
    """Softmax as in eager PyTorch; rows that are -inf throughout give NaN, or zeros."""
    top = np.max(x, axis=dim, keepdims=True, initial=-np.inf)
    exp = np.exp(x - top)
    p: Array = exp / np.sum(exp, axis=dim, keepdims=True)
    return np.where(top == -np.inf, 0.0, p) if hidden_zero else p


def _sdpa(machine: _Machine, node: Node, q: Array, k: Array, v: Array, *rest: Array) -> Array:
    optional = list(rest)
    mask = optional.pop(0) if node.attrs["mask"] else None
    scale = optional.pop(0) if node.attrs["scale"] else 1 / sqrt(q.shape[-1])
    if node.attrs["gqa"]:
        groups = q.shape[-3] // k.shape[-3]
        k, v = np.repeat(k, groups, axis=-3), np.repeat(v, groups, axis=-3)
    scores = np.matmul(q, np.swapaxes(k, -1, -2)) * scale
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == np.bool_ else scores + mask
    if node.attrs["causal"]:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=np.bool_), scores, -np.inf)
    result: Array = np.matmul(softmax(scores, -1, hidden_zero=True), v)
    return result


BY_NAME: Mapping[str, Callable[[_Machine, Node], Array]] = {
    "brgemm": _brgemm,
    "reduce": _reduce,
    "gather": _gather,
    "result": _result,
    "constant": _constant,
    "iota": lambda machine, node: np.arange(machine.sizes[node.attrs["axis"]]),
}
BY_POSITION: Mapping[str, Callable[..., Array]] = {
    "matmul": lambda machine, node, a, b: np.matmul(a, b),
    "reduce_dims": _reduce_dims,
    "softmax": _softmax,
    "sdpa": _sdpa,
    "transpose": lambda machine, node, a: a.transpose(node.attrs["order"]),
    "view": _view,
    "unsqueeze": lambda machine, node, a: np.expand_dims(a, node.attrs["dim"]),
    "expand": lambda machine, node, a: machine.stretched(a, node.type.dims),
}
