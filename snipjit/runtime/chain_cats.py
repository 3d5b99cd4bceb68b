"""Cats in a chain: how results must lie in memory so that they are the parts of one tensor.

Each operand of a cat is a view of a result, so from the strides that a part of the cat has follow
those of the result. They are found for its dims one by one, and then it is seen what the same views
make of them: PyTorch says whether they are right. ::

    %a : [1, 4096, 1536]    %v = %a.view(1, 4096, 24, 64).transpose(1, 2)
    %b : [1, 154, 1536]     %w = %b.view(1, 154, 24, 64).transpose(1, 2)
    %c = cat((%v, %w), 2) : [1, 24, 4250, 64] with strides (6596000, 64, 1552, 1)
         %a with strides (6596000, 1552, 1), %b too, 4096 × 1552 elements behind it

A cat that others see is laid out as by PyTorch. Within the chain it has the order of its first
operand's dims if it can, and a cache line between rows that would begin in the same few sets of a
cache: attention over 4250 keys, of 64 of 1536 floats each, is then as fast as if these lay side by
side.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from snipjit.ir.call_args import CACHE_LINE
from snipjit.runtime.interface import Ints
from snipjit.torch_private import storage_identity

SAME_SETS = 1024
"""Rows as many bytes apart begin in at most four sets of a first-level cache."""


class Operand(NamedTuple):
    """An operand of a cat, the result that it is a view of, and their tensors without memory."""

    node: fx.Node
    root: fx.Node
    known: dict[fx.Node, Any]

    @property
    def tensor(self) -> Tensor:
        """Itself, as long as its result has memory of its own."""
        found: Tensor = self.known[self.node]
        return found


Part = tuple[int, Ints]
"""Where a result begins in a cat, and its strides (elements)."""


def laid_out(
    operands: Sequence[Operand], dim: int, as_pytorch: bool
) -> tuple[Tensor, list[Part]] | None:
    """A cat without memory and where the results lie in it, None where they cannot.

    ``as_pytorch`` says that it must have the strides which PyTorch gives it.
    """
    tensors = [operand.tensor for operand in operands]
    whole = torch.cat(tensors, dim)
    orders = [whole] if as_pytorch else [_ordered_as(tensors[0], whole, dim), whole]
    for whole in orders:
        parts = torch.split(whole, [tensor.shape[dim] for tensor in tensors], dim)
        found = [_strides(*pair) for pair in zip(operands, parts, strict=True)]
        known = [strides for strides in found if strides is not None]
        if len(known) == len(parts):
            offsets = [int(part.storage_offset()) for part in parts]
            return whole, [*zip(offsets, known, strict=True)]
    return None


def _ordered_as(tensor: Tensor, whole: Tensor, dim: int) -> Tensor:
    """A tensor of a shape with its dims in the order of another one's, spread along one of them."""
    steps, step = tensor.stride(), 1
    strides = [1] * len(steps)
    for inner in sorted(range(len(steps)), key=lambda dim: steps[dim]):
        if inner == dim and step * whole.itemsize % SAME_SETS == 0:
            step += CACHE_LINE // whole.itemsize
        strides[inner] = step
        step *= max(whole.shape[inner], 1)
    return torch.empty_strided(whole.shape, strides, dtype=whole.dtype, device="meta")


def _strides(operand: Operand, part: Tensor) -> Ints | None:
    """The strides with which a result is a part of a cat, None if there are none."""
    result: Tensor = operand.known[operand.root]
    strides = tuple(_moved(stride, operand.tensor, part) for stride in result.stride())
    held = torch.empty_strided(result.shape, strides, dtype=result.dtype, device="meta")
    try:
        seen = _seen(operand, held)
    except RuntimeError:  # a view that there is only of other strides
        return None
    is_view = storage_identity(seen) == storage_identity(held) and not seen.storage_offset()
    return strides if is_view and _is_alike(seen, part) else None


def _moved(stride: int, tensor: Tensor, part: Tensor) -> int:
    """What becomes of a stride if a view of the same memory gets the strides of a part.

    A dim of the result is one of the view or lies within one.
    """
    known = zip(tensor.shape, tensor.stride(), part.stride(), strict=True)
    within = [(own, new) for size, own, new in known if size > 1 and 0 < own <= stride]
    own, new = max(within, default=(1, 1))
    return stride // own * new


def _seen(operand: Operand, held: Tensor) -> Tensor:
    """What the views between a result and an operand make of other memory."""
    views, node = list[fx.Node](), operand.node
    while node is not operand.root:
        views.append(node)
        node = node.all_input_nodes[0]
    known = ChainMap[fx.Node, Any]({operand.root: held}, operand.known)
    for node in reversed(views):
        known[node] = run(node, known)
    found: Tensor = known[operand.node]
    return found


def _is_alike(tensor: Tensor, other: Tensor) -> bool:
    """Whether both have equal shapes, and the same strides wherever these are used."""
    if tensor.shape != other.shape or tensor.numel() == 0:
        return tensor.shape == other.shape
    steps = zip(tensor.shape, tensor.stride(), other.stride(), strict=True)
    return all(own == new for size, own, new in steps if size > 1)


def run(node: fx.Node, known: Mapping[fx.Node, Any]) -> Any:
    """What a view gives."""
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    target: Any = node.target
    return target(*args, **kwargs)
