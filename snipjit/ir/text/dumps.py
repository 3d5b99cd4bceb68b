"""Dumps: every stage of a subgraph as numbered files, for reading (``SNIPJIT_DUMP``)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from snipjit import config
from snipjit.errors import OptionError
from snipjit.ir.linear_ir import LinearIR
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.linear import print_linear
from snipjit.ir.text.subgraph import print_subgraph


class Named(Protocol):
    """A pass, as far as dumps know it."""

    @property
    def name(self) -> str:
        """What its file is called."""


@dataclass
class Dumps:
    """The numbered files of one subgraph's stages."""

    directory: Path
    last: str
    count: int = 0

    @staticmethod
    def of(subgraph: Subgraph) -> Dumps | None:
        """The dumps of a Subgraph; None if they are off."""
        return Dumps.begin("subgraph", "tokenized.txt", lambda: print_subgraph(subgraph))

    @staticmethod
    def begin(kind: str, name: str, printed: Callable[[], str]) -> Dumps | None:
        """A folder of a kind for what a text says, which is its first file; None: they are off."""
        root = config.dump_directory()
        if root is None:
            return None
        text = printed()
        folder = f"{kind}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        dumps = Dumps(root / folder, text)
        dumps.write(name, text)
        return dumps

    def kernel(self, name: str, source: str) -> Dumps:
        """The dumps of one kernel of several, in a folder below, from its own Subgraph on."""
        dumps = Dumps(self.directory / name, source)
        dumps.write("canonical.txt", source)
        return dumps

    def write(self, name: str, text: str) -> None:
        """The next file. Raises OptionError where it cannot be written."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            (self.directory / f"{self.count:02}_{name}").write_text(text)
        except OSError as error:
            raise OptionError(f"SNIPJIT_DUMP: cannot write below it ({error})") from error
        self.count += 1

    def stage(self, stage: str, step: Named, ir: Any) -> None:
        """The outcome of a pass, or that it changed nothing."""
        text = _print(ir)
        suffix = "ll" if stage == "llvm" else "txt"
        body = text if text != self.last else "(unchanged)\n"
        self.write(f"{stage}_{step.name}.{suffix}", body)
        self.last = text


def writer(dumps: Dumps | None, stage: str) -> Callable[[Named, Any], None] | None:
    """What a pipeline calls after each pass of a stage."""
    if dumps is None:
        return None
    return lambda step, ir: dumps.stage(stage, step, ir)


def _print(ir: Any) -> str:
    if isinstance(ir, Subgraph):
        return print_subgraph(ir)
    return print_linear(ir) if isinstance(ir, LinearIR) else str(ir)
