"""Tensor and Buffer: the memory of a LinearIR, that of its call and its own."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from snipjit.ir.dequantized import Step
from snipjit.ir.element_types import Typed
from snipjit.ir.parts import Parts
from snipjit.ir.subgraph import Block, Dim, Dimensioned


@dataclass(frozen=True)
class Tensor(Dimensioned):
    """An input or output: element type, dimensions (products of axes), memory order of the dims.

    The innermost axis of the innermost dim has stride 1 when the dim holds an axis;
    the runtime sees to that. All other strides arrive with the call. Of an axis with a ``block``
    so many neighbours lie innermost in memory, and its dim counts such blocks, the last of them
    whole too: ``[n][k] block n 16`` is ``[n/16][k][16]``. With ``parts`` memory knows finer axes.
    With ``steps`` a load converts what memory holds, and applies these functions one by one.
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...]
    order: tuple[int, ...] = ()
    block: Block | None = None
    parts: Parts | None = None
    steps: tuple[Step, ...] = ()

    @property
    def sized(self) -> tuple[str, ...]:
        """The parts whose sizes its addresses are computed with."""
        return self.parts.sized if self.parts is not None else ()

    def has_panels(self, axis: str) -> bool:
        """Whether panels along an axis lie behind one another in memory, as blocks or rows do."""
        return self.block is not None or self.unit_axis != axis

    def is_index(self, axis: str) -> bool:
        """Whether it is read by index along an axis: no loop moves it."""
        return self.parts is not None and axis in self.axes and self.parts.is_index(axis)

    @property
    def unit_axis(self) -> str | None:
        """The axis whose stride is known to be 1, in its blocks if it has some."""
        if self.block is not None:
            return self.block[0]
        axis = self.innermost
        return None if axis is None or self.is_index(axis) else axis

    @property
    def innermost(self) -> str | None:
        """The last axis of the innermost dim. An index along it has stride 1 as well, unless it is
        of an outer part."""
        innermost = self.order[-1] if self.order else len(self.dims) - 1
        return self.dims[innermost][-1] if self.dims and self.dims[innermost] else None

    def increment(self, axis: str) -> int | None:
        """Elements that a loop over an axis goes on for each of its own; None: the call tells.

        Of an axis with blocks it is that of the blocks, shared out: loops go by whole ones.
        """
        if self.block is None:
            return 1 if axis == self.unit_axis else None
        last = self.dims[self.order[-1] if self.order else -1]
        return self.block[1] if axis == last[-1] and axis != self.block[0] else None


@dataclass
class Buffer(Typed):
    """Scratch memory, declared where its life begins; ``extents`` are in layout order.

    Of the axis in ``pairs`` the extent is even, and two neighbours lie innermost.
    """

    name: str
    dtype: str
    extents: dict[str, int]
    offset: int | None = None
    pairs: str | None = None

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the buffer, outermost first."""
        return tuple(self.extents)

    @property
    def elements(self) -> int:
        """How many elements the buffer holds."""
        return prod(self.extents.values())

    def stride(self, axis: str) -> int:
        """Elements between neighbours along an axis; of pairs, half of that between pairs."""
        after = self.axes[self.axes.index(axis) + 1 :]
        stride = prod(self.extents[name] for name in after)
        beside = self.pairs in self.axes[: self.axes.index(axis)]
        return 2 * stride if beside else stride

    def is_index(self, axis: str) -> bool:
        """Whether it is read by index along an axis: no buffer is."""
        return False

    def increment(self, axis: str) -> int:
        """Elements that a loop over an axis goes on for each of its own."""
        return self.stride(axis)


def is_moved(tensor: Tensor | Buffer, axis: str) -> bool:
    """Whether loops over an axis move a tensor."""
    return axis in tensor.axes and not tensor.is_index(axis)
