"""Kernel: compiled code with its recipe, ready to be called; KernelFamily: several of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from snipjit.axis_sizes import solve_axes
from snipjit.runtime.engine import Loaded, load
from snipjit.runtime.runtime_configurator import Recipe, RuntimeConfigurator

Shapes = Sequence[Sequence[int]]
"""The shape of each input in turn."""


class Structure(Protocol):
    """What a launcher calls: one kernel, or several of which each call takes one."""

    @property
    def key(self) -> str:
        """What it was compiled from."""

    @property
    def recipe(self) -> Recipe:
        """Inputs, outputs and scalars, which are those of every kernel, as are their slots."""

    @property
    def uses_scratch(self) -> bool:
        """Whether calls may need a scratchpad."""

    @property
    def configurator(self) -> RuntimeConfigurator:
        """Solves the output layouts of a call."""

    def kernel_for(self, shapes: Shapes) -> Kernel:
        """The kernel for these shapes, kept alive by this; InputError if they do not fit."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """One compiled kernel.

    key          what it was compiled from: the same key, the same kernel
    object_code  relocatable machine code, as the disk cache keeps it
    compiled     whether this process compiled it; if not, it is from the disk
    """

    key: str
    recipe: Recipe
    object_code: bytes = field(repr=False)
    loaded: Loaded
    compiled: bool = True

    @staticmethod
    def from_object(
        key: str, recipe: Recipe, object_code: bytes, symbol: str, compiled: bool = True
    ) -> Kernel:
        """The kernel whose worker is ``symbol`` in the object code."""
        return Kernel(key, recipe, object_code, load(object_code, symbol), compiled)

    @property
    def address(self) -> int:
        """The address of the worker ``void kernel(CallArgs*)``."""
        return self.loaded.address

    @property
    def uses_scratch(self) -> bool:
        """Whether workers have buffers, or share some."""
        return self.recipe.scratch_bytes > 0 or self.recipe.split is not None

    @cached_property
    def configurator(self) -> RuntimeConfigurator:
        """Solves the calls of this kernel."""
        return RuntimeConfigurator(self.recipe)

    def kernel_for(self, shapes: Shapes) -> Kernel:
        """Itself: it is the only one."""
        return self


@dataclass(frozen=True, eq=False)
class KernelFamily:
    """The kernels of one structure, each compiled when a call first asks for it.

    recipe  of the general kernel, which serves every call that no other serves
    choose  the kernel for the sizes of all axes
    """

    key: str
    recipe: Recipe
    choose: Callable[[Mapping[str, int]], Kernel]

    @property
    def uses_scratch(self) -> bool:
        """Some kernel may, though the general one does not."""
        return True

    @cached_property
    def configurator(self) -> RuntimeConfigurator:
        """Solves the output layouts of calls; a call itself is solved by its kernel's."""
        return RuntimeConfigurator(self.recipe)

    def kernel_for(self, shapes: Shapes) -> Kernel:
        """The kernel for these input shapes. Raises InputError if they do not fit."""
        return self.choose(solve_axes(self.recipe.axes, self.recipe.inputs, shapes))
