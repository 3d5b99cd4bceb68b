"""Kernel: compiled code with its recipe."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from snipjit.runtime.engine import Loaded, load
from snipjit.runtime.runtime_configurator import Recipe

log = logging.getLogger(__name__)


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
        made = "compiled" if compiled else "from disk"
        log.debug("kernel %s, %d bytes: %s", made, len(object_code), " ".join(key.split()[:4]))
        return Kernel(key, recipe, object_code, load(object_code, symbol), compiled)

    @property
    def address(self) -> int:
        """The address of the worker ``void kernel(CallArgs*)``."""
        return self.loaded.address

    @property
    def uses_scratch(self) -> bool:
        """Whether workers have buffers, or share some."""
        return self.recipe.scratch_bytes > 0 or self.recipe.split is not None
