"""Kernel: compiled code with its recipe, ready to be called with CallArgs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from snipjit.runtime.engine import Loaded, load
from snipjit.runtime.runtime_configurator import Recipe, RuntimeConfigurator
from snipjit.runtime.threads import Call, native

SYMBOL = "kernel"
"""The name of the worker function in every kernel's object code."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """One compiled kernel.

    key          what it was compiled from: the same key, the same kernel
    object_code  relocatable machine code, as a disk cache keeps it
    """

    key: str
    recipe: Recipe
    object_code: bytes = field(repr=False)
    loaded: Loaded

    @staticmethod
    def from_object(key: str, recipe: Recipe, object_code: bytes, symbol: str = SYMBOL) -> Kernel:
        """The kernel whose worker is ``symbol`` in the object code."""
        return Kernel(key, recipe, object_code, load(object_code, symbol))

    @property
    def address(self) -> int:
        """The address of the worker ``void kernel(CallArgs*)``."""
        return self.loaded.address

    @cached_property
    def worker(self) -> Call:
        """Runs the worker on the calling thread."""
        return native(self.address)

    @cached_property
    def configurator(self) -> RuntimeConfigurator:
        """Solves the calls of this kernel."""
        return RuntimeConfigurator(self.recipe)
