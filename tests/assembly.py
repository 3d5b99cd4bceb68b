"""Counts in assembly text: what a micro-kernel does an iteration, and what it spills."""

from __future__ import annotations

import re
from dataclasses import dataclass

LABEL = re.compile(r"^\S+:")
MULTIPLIES = re.compile(r"^(vfn?m(add|sub)\d+ps|mulps|vdpbf16ps|tdpbf16ps)\b")
VECTOR = re.compile(r"%([xyz]mm|tmm)\d")
STACK = re.compile(r"\(%r[sb]p[,)]")


@dataclass(frozen=True)
class Block:
    """A basic block: instructions that run one after another."""

    instructions: tuple[str, ...]

    @property
    def products(self) -> int:
        """Multiply-adds, of pairs and of tiles too; where there are none, multiplications."""
        return sum(bool(MULTIPLIES.match(text)) for text in self.instructions)

    @property
    def spills(self) -> int:
        """Vectors that are stored to the stack or loaded from it."""
        return sum(bool(VECTOR.search(i) and STACK.search(i)) for i in self.instructions)

    @property
    def loads(self) -> int:
        """Vectors and splats that are read from memory, as operands too."""
        reads = (i for i in self.instructions if VECTOR.search(i) and not STACK.search(i))
        return sum("(" in text and not text.split("#")[0].rstrip().endswith(")") for text in reads)


def blocks(assembly: str) -> list[Block]:
    """The basic blocks of a kernel, those with most products first."""
    found: list[list[str]] = [[]]
    for line in assembly.splitlines():
        if LABEL.match(line):
            found.append([])
        elif line.startswith("\t") and not line.startswith("\t."):
            found[-1].append(re.sub(r"\s+", " ", line.strip()))
    return sorted((Block(tuple(b)) for b in found), key=lambda block: -block.products)
