"""RuntimeConfigurator: sizes and strides of a call in, everything the kernel must be told out.

A kernel knows no size. What it reads from CallArgs (work amounts, pointer increments, finalization
offsets, parallel steps) is computed here, once for each set of shapes and strides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

from snipjit.errors import InputError
from snipjit.ir.axis_sizes import TensorSpec
from snipjit.ir.call_args import MOST_GROUPS, finalization_offset
from snipjit.ir.exact_integers import LONGEST
from snipjit.ir.subgraph import Dim
from snipjit.runtime.input_copies import InputCopy, dense_copies, output_layouts
from snipjit.runtime.interface import NO_STRIDES, Interface, Ints, Shapes, Wanted, dense

ENOUGH_TASKS = 8
"""Tasks until which blocks are made smaller, if nothing else is known."""

WHOLE_PANELS = 4
"""With so many blocks of whole panels they need not be smaller."""

LITTLE_WORK = 1 << 18
"""Multiplications that one core does while another is told to begin, some 3 µs."""

TASKS_OF_A_SPLIT = MOST_GROUPS + 1
"""A loop is split into chunks until there are about so many tasks."""

Layouts = Sequence[tuple[Sequence[int], Sequence[int]]]
"""Shape and strides of each tensor."""


class ParallelLoop(NamedTuple):
    """A parallel loop: a task takes at most ``step`` elements, a multiple of ``granule``.

    ``counts_all``: the step counts elements of all that is in a task, and not those of the axis.
    ``panel``: what takes as long, or almost, if there is less of it. With fewer tasks than
    ``enough`` blocks are made smaller, so that all threads are busy to the end.
    """

    axis: str
    step: int
    granule: int
    counts_all: bool = False
    panel: int = 0
    enough: int = ENOUGH_TASKS


class SplitLoop(NamedTuple):
    """A loop split into chunks of at least ``step`` elements, multiples of ``granule``.

    There are at most ``chunks``; each leaves ``part_bytes`` in shared buffers.
    """

    axis: str
    step: int
    granule: int
    chunks: int
    part_bytes: int


@dataclass(frozen=True)
class Recipe:
    """What the run time must know about one kernel; plain data, kept beside its object code.

    parallel       the parallel loops that are not split, outermost first
    scratch_bytes  scratchpad of one worker
    fields         the slots of CallArgs, those of the interface first
    axes           the axes that no tensor has, with their sizes
    split          the split loop, if there is one
    products       the axes of each product, the summed ones included
    """

    parallel: tuple[ParallelLoop, ...]
    scratch_bytes: int
    fields: tuple[str, ...]
    axes: tuple[tuple[str, int], ...] = ()
    split: SplitLoop | None = None
    products: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class RuntimeConfig:
    """One set of shapes and strides, solved. Strides of outputs and copies are in elements.

    slots       a value for each slot of CallArgs; 0 where only the call knows it
    tasks       how many tasks the parallel loops make
    one_thread  whether one thread does them all: waking another would take as long
    shared      bytes of scratchpad for all workers together
    copies      by the index of the input
    """

    slots: Ints
    tasks: int
    one_thread: bool
    shared: int
    output_shapes: tuple[Ints, ...]
    output_strides: tuple[Ints, ...]
    copies: dict[int, InputCopy]


class _Moved(NamedTuple):
    """What a tensor has of an axis of the kernel, outer to inner, and the slots of its steps."""

    axis: str
    own: Dim
    stride: int
    rewind: int


class _Memory(NamedTuple):
    """A tensor as its steps are counted: bytes of an element; of each dim the axes, inner to outer,
    and how many neighbours along it lie in the innermost block; what moves."""

    bytes: int
    dims: tuple[Dim, ...]
    blocks: tuple[int, ...]
    moved: tuple[_Moved, ...]


@dataclass(frozen=True)
class RuntimeConfigurator:
    """Solves calls of one kernel. Pure: the same sizes and strides give the same config."""

    interface: Interface
    recipe: Recipe

    def configure(
        self, sizes: Mapping[str, int], shapes: Shapes, strides: Shapes, wanted: Wanted = NO_STRIDES
    ) -> RuntimeConfig:
        """The config of a call of these sizes, input shapes and strides (elements), and of outputs.

        Raises InputError for strides of outputs that no kernel writes, and for a mask of indices
        that float32 does not hold.
        """
        interface, sizes = self.interface, {**sizes, **dict(self.recipe.axes)}
        if long := [axis for axis in interface.indexed if sizes[axis] > LONGEST]:
            size = sizes[long[0]]
            raise InputError(f"a mask of indices is {size} long: at most {LONGEST} are accepted")
        outputs = output_layouts(interface, sizes, wanted)
        copies = dense_copies(interface.inputs, sizes, shapes, strides)
        layouts: list[tuple[Sequence[int], Sequence[int]]] = [*zip(shapes, strides, strict=True)]
        for index, copy in copies.items():
            layouts[index] = copy.shape, dense(copy.shape)
        slots = [0] * len(self.recipe.fields)
        tasks = self._fill_loops(slots, sizes)
        self._fill_tensors(slots, sizes, [*layouts, *outputs])
        output_shapes, output_strides = tuple(zip(*outputs, strict=True)) or ((), ())
        shared = slots[self._slots["shared"]]
        one_thread = tasks <= 1 or self._is_little(sizes)
        return RuntimeConfig(
            tuple(slots), tasks, one_thread, shared, output_shapes, output_strides, copies
        )

    def _is_little(self, sizes: Mapping[str, int]) -> bool:
        """Whether there are so few multiplications that threads do not pay; not without any."""
        products = self.recipe.products
        work = sum([prod([sizes[axis] for axis in axes]) for axes in products])
        return bool(products) and work < LITTLE_WORK

    @cached_property
    def _slots(self) -> dict[str, int]:
        return {field: slot for slot, field in enumerate(self.recipe.fields)}

    @cached_property
    def _memory(self) -> list[_Memory]:
        """Every tensor of the call."""
        return [self._memory_of(spec) for spec in (*self.interface.inputs, *self.interface.outputs)]

    def _memory_of(self, spec: TensorSpec) -> _Memory:
        at, names = self._slots, {axis: f"{spec.name}.{axis}" for axis in spec.owned}
        return _Memory(
            spec.element.bytes,
            tuple(dim[::-1] for dim in spec.told),
            tuple(spec.neighbours(dim) for dim in spec.told),
            tuple(
                _Moved(axis, own, at[f"stride.{names[axis]}"], at[f"rewind.{names[axis]}"])
                for axis, own in spec.owned.items()
            ),
        )

    def _fill_loops(self, slots: list[int], sizes: Mapping[str, int]) -> int:
        """Work amounts, and blocks and steps of the parallel loops; returns the number of tasks."""
        at = self._slots
        for axis, size in sizes.items():
            if (slot := at.get(f"size.{axis}")) is not None:
                slots[slot] = size
        tasks, most = 1, self._most(sizes)
        for loop in self.recipe.parallel:
            wanted = 1 if most else -(-loop.enough // max(tasks, 1))
            largest = most.get(loop.axis, loop.step)
            size, panel = sizes[loop.axis], loop.panel
            blocks, step = split_parallel(size, largest, loop.granule, wanted, panel)
            if any(loop.axis not in output.axes for output in self.interface.outputs):
                blocks = max(blocks, 1)  # others are written where this axis has no element
            slots[at[f"blocks.{loop.axis}"]], slots[at[f"step.{loop.axis}"]] = blocks, step
            tasks *= blocks
        if self.recipe.split is not None:
            tasks = self._fill_split(slots, sizes, tasks, self.recipe.split)
        slots[at["tasks"]] = tasks
        return tasks

    def _most(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The most elements in a task along each axis whose loop counts all that is in it.

        Inner axes are whole as long as they fit. With few tasks they are made smaller, as above.
        """
        counted = [loop for loop in self.recipe.parallel if loop.counts_all]
        if not counted:
            return {}
        outer = {loop.axis for loop in counted}
        cut = {loop.axis: loop.step for loop in self.recipe.parallel if not loop.counts_all}
        tensors = [
            prod(
                min(sizes[axis], cut.get(axis, sizes[axis]))
                for axis in spec.axes
                if axis not in outer
            )
            for spec in (*self.interface.inputs, *self.interface.outputs)
        ]
        inputs = len(self.interface.inputs)
        inside = max(*tensors[:inputs], sum(tensors[inputs:]), 1)
        step = counted[0].step
        total = inside * prod(sizes[axis] for axis in outer)
        room = min(max(total // ENOUGH_TASKS, step // 4), step)
        most: dict[str, int] = {}
        for loop in reversed(counted):
            most[loop.axis] = max(room // inside, 1)
            inside *= max(min(sizes[loop.axis], most[loop.axis]), 1)
        return most

    def _fill_split(
        self, slots: list[int], sizes: Mapping[str, int], groups: int, loop: SplitLoop
    ) -> int:
        """Chunks of the split loop, and the memory that several share; returns all tasks."""
        at = self._slots
        wanted = min(-(-TASKS_OF_A_SPLIT // max(groups, 1)), loop.chunks)
        chunks, step = split_chunks(sizes[loop.axis], loop.step, loop.granule, wanted)
        slots[at[f"blocks.{loop.axis}"]], slots[at[f"step.{loop.axis}"]] = chunks, step
        tasks = groups * chunks
        slots[at["shared"]] = tasks * loop.part_bytes if chunks > 1 else 0
        return tasks

    def _fill_tensors(self, slots: list[int], sizes: Mapping[str, int], layouts: Layouts) -> None:
        """Byte strides and rewinds of every tensor's axes; a dim that broadcasts does not move.

        A step along an axis goes on by the innermost part of several elements.
        """
        for memory, (shape, strides) in zip(self._memory, layouts, strict=True):
            steps: dict[str, int] = {}
            for dim, size, stride, block in zip(
                memory.dims, shape, strides, memory.blocks, strict=False
            ):
                step = stride * memory.bytes // block if size != 1 or block > 1 else 0
                for axis in dim:
                    steps[axis] = step
                    step *= sizes[axis]
            for axis, own, stride_slot, rewind_slot in memory.moved:
                inner = own[-1]
                if len(own) > 1:
                    inner = next((part for part in reversed(own) if sizes[part] != 1), inner)
                slots[stride_slot] = steps[inner]
                slots[rewind_slot] = finalization_offset(steps[inner], sizes[axis])


def split_parallel(
    size: int, max_step: int, granule: int, wanted: int = 1, panel: int = 0
) -> tuple[int, int]:
    """Blocks and step of a parallel loop: as few blocks as can be, of nearly equal size.

    Blocks are whole panels, the last aside, where these make enough of them, else whole granules.

    Up to ``wanted`` blocks are made for the sake of idle threads, none under a quarter of the
    largest step. Sizes alone decide, never the number of threads: results have the same bits.
    """
    if size == 0:
        return 0, max_step
    least = max(max_step // 4, 1)
    blocks = max(-(-size // max_step), min(wanted, size // least))
    even = -(-size // blocks)
    step = min(-(-even // granule) * granule, max_step)
    if panel and (whole := -(-even // panel) * panel) * (WHOLE_PANELS - 1) < size:
        step = min(whole, max_step)
    return -(-size // step), step


def split_chunks(size: int, least: int, granule: int, wanted: int) -> tuple[int, int]:
    """Chunks and step of a split loop: up to ``wanted`` of nearly equal size, none too small.

    Sizes alone decide, never the number of threads: results have the same bits.
    """
    even = -(-size // max(min(wanted, size // least), 1))
    step = max(-(-even // granule) * granule, granule)
    return max(-(-size // step), 1), step
