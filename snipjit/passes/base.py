"""Pass, the base of every pass of every stage, and the loop that runs them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pass(ABC):
    """One rewrite of an IR; the fields of a subclass are its options."""

    @property
    def name(self) -> str:
        """The name of the class, by which dumps and ``until`` know the pass."""
        return type(self).__name__

    @abstractmethod
    def run(self, ir: Any, /) -> Any:
        """The rewritten IR. It assumes what the verifier of the stage checks."""


def run_pipeline(
    passes: Iterable[Pass],
    ir: Any,
    verify: Callable[[Any], None] | None = None,
    dump: Callable[[Pass, Any], None] | None = None,
    until: str | None = None,
) -> Any:
    """Run passes in order, up to and including the one named ``until``.

    After each pass ``dump`` receives it with its outcome, then ``verify`` may raise.
    """
    for step in passes:
        ir = step.run(ir)
        if dump is not None:
            dump(step, ir)
        if verify is not None:
            verify(ir)
        if type(step).__name__ == until:
            break
    return ir
