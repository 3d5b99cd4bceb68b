"""CallArgs: the one structure a kernel receives, described once for emitter and configurator.

Every field is 8 bytes, so the structure is an array of 64-bit slots. The first eight are fixed and
sit on a cache line of their own, because workers write to two of them:

====  =========  ================================================================
slot  field      meaning
====  =========  ================================================================
0     counter    next task; each worker takes tasks by an atomic add
1     worker     next worker number; picks the worker's part of the scratchpad
2     tasks      number of tasks: the product of the ``blocks``
3     scratch    address of the scratchpad, 64-byte aligned
4     pitch      bytes of scratchpad for one worker
5     entry      address of the kernel, for those who start the workers
6     threads    how many workers to start
7     shared     bytes at the front of the scratchpad that all workers share
====  =========  ================================================================

then what all kernels of one structure have, in the order of ``shared_fields``:

``data.<tensor>``           address of an input or output
``scalar.<name>``           a float32 in the low four bytes
``size.<axis>``             work amount of the outermost loop over an axis of a tensor (elements),
                            or size of a part of one, which an index is computed with
``stride.<tensor>.<axis>``  ptr_increment of a unit step along an axis (bytes)
``rewind.<tensor>.<axis>``  finalization offset of a whole loop over an axis (bytes)
``fault``                   of kernels that load by index: not 0 where an index was out of range

and what a LinearIR has besides:

``size.<axis>``             the same of an axis that no tensor has
``blocks.<axis>``           how many iterations a parallel loop has
``step.<axis>``             the increment of a parallel loop, at most the one in the IR (elements)
``arrived.<group>``         of a split loop: how many chunks of a group have come to the join; the
                            last one to come puts back the 0 that every call begins with

A parallel loop that is split has ``step.<axis>`` at least the one in the IR. With several chunks,
what chunk ``c`` of group ``g`` leaves in a shared buffer lies ``blocks * (g * bytes + at) + c *
size`` bytes into the scratchpad: ``bytes`` of all shared buffers of a chunk, ``at`` the offset of
this one among them, ``size`` its own bytes.

The kernel's signature is ``void kernel(CallArgs*)``; it is a *worker*: called by each thread once,
it takes tasks until none is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.loop_nest import parallel_loops, shared_buffers, split_loop

FIXED = ("counter", "worker", "tasks", "scratch", "pitch", "entry", "threads", "shared")

CACHE_LINE = 64
"""Bytes; what scratchpads, workers' parts, buffers and parts of tasks begin at multiples of."""

MOST_GROUPS = 63
"""With more groups of tasks than this no loop is split."""


class Shaped(Protocol):
    """A tensor, as far as slots depend on it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Its axes."""

    @property
    def sized(self) -> tuple[str, ...]:
        """The parts of axes whose sizes its addresses are computed with."""


def shared_fields(
    tensors: Sequence[Shaped], scalars: Sequence[str], by_index: bool
) -> tuple[str, ...]:
    """The slots that depend on tensors and scalars alone: every kernel of a structure has them.

    ``by_index``: whether anything is loaded by index.
    """
    fields = list(FIXED)
    fields += [f"data.{tensor.name}" for tensor in tensors]
    fields += [f"scalar.{name}" for name in scalars]
    fields += dict.fromkeys(f"size.{a}" for t in tensors for a in (*t.axes, *t.sized))
    for tensor in tensors:
        for axis in tensor.axes:
            fields += [f"stride.{tensor.name}.{axis}", f"rewind.{tensor.name}.{axis}"]
    return (*fields, "fault") if by_index else tuple(fields)


def told_by_sizes(fields: Sequence[str]) -> int:
    """How many slots, the first ones, sizes and strides decide; the kernel counts in the others."""
    return sum(not field.startswith("arrived.") for field in fields)


def axes_of_no_tensor(lir: LinearIR) -> list[str]:
    """The axes of a kernel that its call does not know."""
    known = {axis for tensor in lir.tensors.values() for axis in tensor.axes}
    return [axis for axis in lir.axes if axis not in known]


@dataclass(frozen=True)
class CallArgs:
    """The slots of one kernel's call structure, by field name."""

    fields: tuple[str, ...]

    @staticmethod
    def of(lir: LinearIR) -> CallArgs:
        """The structure that the kernel of ``lir`` reads."""
        by_index = any(e.op == "load" and e.operands for e in lir.expressions())
        fields = [*shared_fields([*lir.tensors.values()], lir.scalars, by_index)]
        fields += [f"size.{axis}" for axis in axes_of_no_tensor(lir)]
        for loop in parallel_loops(lir):
            fields += [f"blocks.{loop.axis}", f"step.{loop.axis}"]
        if split_loop(lir) is not None:
            fields += [f"arrived.{group}" for group in range(MOST_GROUPS)]
        return CallArgs(tuple(fields))

    def slot(self, field: str) -> int:
        """The index of a field's 64-bit slot."""
        return self.fields.index(field)


def chunk_bytes(lir: LinearIR) -> int:
    """Bytes that each chunk of a split loop leaves in shared buffers: whole cache lines."""
    shared = shared_buffers(lir).values()
    ends = [
        (buffer.offset or 0) + buffer.stride(buffer.axes[0]) * buffer.element.bytes
        for buffer in shared
    ]
    return -(-max(ends, default=0) // CACHE_LINE) * CACHE_LINE


def finalization_offset(ptr_increment: int, work_amount: int) -> int:
    """What undoes a loop's advance of a pointer; the emitter and the configurator agree on it."""
    return -ptr_increment * work_amount
