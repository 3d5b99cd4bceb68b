"""Structure: the kernels of one canonical Subgraph, and which of them serves which sizes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from snipjit.errors import UnsupportedError
from snipjit.ir.schedule import Schedule
from snipjit.runtime.compile_threads import Run
from snipjit.runtime.interface import NO_STRIDES, Interface, Ints, Shapes
from snipjit.runtime.kernel import Kernel
from snipjit.runtime.prepared_weights import Form
from snipjit.runtime.runtime_configurator import RuntimeConfig, RuntimeConfigurator
from snipjit.target.candidates import Serves

SPECIALIZED_SIZES = 4
"""For how many sizes of its features a structure gets kernels of their own."""


class Choice(NamedTuple):
    """One kernel of a structure: its schedule, and the sizes of features that are compiled in."""

    schedule: Schedule
    features: Ints = ()

    def name(self, axes: Collection[str] = ()) -> str:
        """For people, with the names of the feature axes: ``rows_d64``."""
        sizes = (f"{axis}{size}" for axis, size in zip(axes, self.features, strict=False))
        return "_".join((self.schedule.value, *sizes))


Begin = Callable[..., Callable[[], Kernel]]
"""``begin(choice, run=…)``: ``run`` has LLVM's part done, on another thread perhaps."""

NODES = None
"""In the place of a kernel: the nodes of PyTorch that it would stand for."""


@dataclass(frozen=True)
class Selection:
    """Which kernels a structure has, and which of them serves which sizes.

    table     schedules, the better ones first; the last one serves any sizes
    features  axes whose sizes shape register tiles: the first few sizes get their own kernels
    """

    table: tuple[Serves, ...]
    features: tuple[str, ...] = ()

    @property
    def general(self) -> Choice:
        """The kernel that serves all sizes."""
        schedule = self.table[-1].schedule
        assert schedule is not None, "PyTorch's nodes are not always there"
        return Choice(schedule)

    @property
    def has_nodes(self) -> bool:
        """Whether PyTorch's own nodes stand in the table."""
        return any(row.schedule is None for row in self.table)

    @property
    def is_single(self) -> bool:
        """Whether the general kernel is the only one."""
        return not self.features and len(self.table) == 1

    def choices(self, sizes: Mapping[str, int], seen: Collection[Ints]) -> list[Choice]:
        """The kernels for some sizes, best first; the last one is the general one.

        ``seen`` are the sizes of features that have kernels of their own.
        """
        return [choice for choice in self.candidates(sizes, seen) if choice is not NODES]

    def candidates(self, sizes: Mapping[str, int], seen: Collection[Ints]) -> list[Choice | None]:
        """The same, and ``NODES`` where those of PyTorch stand in the table."""
        features = tuple(sizes[axis] for axis in self.features)
        general = features not in seen and (not all(features) or len(seen) >= SPECIALIZED_SIZES)
        found = [
            Choice(row.schedule, () if general else features) if row.schedule else NODES
            for row in self.table
            if row.suits(sizes) and (row.schedule is None or not general)
        ]
        return list(dict.fromkeys([*found, self.general]))


@dataclass(eq=False)
class Structure:
    """What a launcher calls: kernels, each compiled when a call first asks for it.

    key        what it was compiled from: the same key, the same structure
    interface  how all its kernels are called
    selection  which of them serves which sizes
    begin      begins to compile a kernel and gives what ends that, either of which may find that
               there is none and raise UnsupportedError, but never of the general one
    ahead      compiles what is expected of this structure and others, if that is yet to be done
    forms      of inputs that are weights, by number: how they are prepared before a call
    """

    key: str
    interface: Interface
    selection: Selection
    begin: Begin
    forms: Mapping[int, Form] = field(default_factory=dict)
    ahead: Callable[[], None] | None = None
    _kernels: dict[Choice, tuple[Kernel, RuntimeConfigurator] | None] = field(default_factory=dict)
    _seen: set[Ints] = field(default_factory=set)

    @staticmethod
    def single(interface: Interface, kernel: Kernel) -> Structure:
        """A structure of one kernel, which is there already."""
        only = Selection((Serves(Schedule.ROWS),))
        structure = Structure(kernel.key, interface, only, lambda choice: lambda: kernel)
        structure.kernel(only.general)
        return structure

    @property
    def uses_scratch(self) -> bool:
        """Whether calls may need a scratchpad: what is yet to be compiled may."""
        if not self.selection.is_single:
            return True
        only = self.kernel(self.selection.general)
        return only is not None and only.uses_scratch

    def prefers_nodes(self, shapes: Shapes) -> bool:
        """Whether PyTorch's own nodes serve input shapes best. InputError if they do not fit."""
        candidates = self.selection.candidates(self.interface.sizes(shapes), self._seen)
        return candidates[0] is NODES

    def begin_for(self, shapes: Shapes, run: Run) -> Callable[[], object]:
        """Begin to compile the kernel that serves input shapes best; what it returns ends that."""
        for choice in self.selection.candidates(self.interface.sizes(shapes), self._seen):
            if choice is NODES or choice in self._kernels:
                break
            with suppress(UnsupportedError):  # which its first call finds again
                return self.begin(choice, run=run)
        return lambda: None

    def configure(
        self, shapes: Shapes, strides: Shapes, results: Mapping[int, Ints] = NO_STRIDES
    ) -> tuple[Kernel, RuntimeConfig]:
        """The kernel for a call with these input shapes and strides (elements), and its config.

        ``results`` are strides of outputs that the caller wants, by number. Raises InputError if
        they or the shapes do not fit.
        """
        sizes = self.interface.sizes(shapes)
        kernel, configurator = self._kernel_for(sizes)
        return kernel, configurator.configure(sizes, shapes, strides, results)

    def kernel_for(self, sizes: Mapping[str, int]) -> Kernel:
        """The kernel for sizes of all axes, kept alive by this."""
        return self._kernel_for(sizes)[0]

    def kernel(self, choice: Choice) -> Kernel | None:
        """One kernel, compiled when it is first asked for; None if it cannot be compiled."""
        found = self._made(choice)
        return found[0] if found is not None else None

    def _kernel_for(self, sizes: Mapping[str, int]) -> tuple[Kernel, RuntimeConfigurator]:
        for choice in self.selection.choices(sizes, self._seen):
            if choice.features:
                self._seen.add(choice.features)
            if (found := self._made(choice)) is not None:
                return found
        raise AssertionError(f"the general kernel of {self.key} cannot be compiled")

    def _made(self, choice: Choice) -> tuple[Kernel, RuntimeConfigurator] | None:
        if choice not in self._kernels:
            if self.ahead is not None:
                self.ahead()
            self._kernels[choice] = self._build(choice)
        return self._kernels[choice]

    def _build(self, choice: Choice) -> tuple[Kernel, RuntimeConfigurator] | None:
        try:
            kernel = self.begin(choice)()
        except UnsupportedError:
            if choice == self.selection.general:
                raise
            return None
        shared, own = self.interface.fields, kernel.recipe.fields
        assert own[: len(shared)] == shared, f"{kernel.key} has other slots than its structure"
        return kernel, RuntimeConfigurator(self.interface, kernel.recipe)
