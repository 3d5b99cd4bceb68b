"""LinearPass, the base of the passes from LinearIR to LinearIR."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.regions import copy_of
from snipjit.passes.base import Pass


@dataclass(frozen=True)
class LinearPass(Pass):
    """A rewrite of a LinearIR into a new one; the one that was given stays as it was."""

    def run(self, lir: LinearIR, /) -> LinearIR:
        """The rewritten LinearIR."""
        return self.rewrite(copy_of(lir))

    @abstractmethod
    def rewrite(self, lir: LinearIR) -> LinearIR:
        """The rewritten form of a LinearIR that nobody else has."""
