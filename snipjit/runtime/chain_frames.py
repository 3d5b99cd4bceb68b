"""Frames of a chain: the program that its native half reads, and CallArgs of all its kernels."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from snipjit.ir.call_args import CACHE_LINE
from snipjit.runtime.chain_driver import FIELDS, SLOT

Frame = tuple[memoryview, memoryview, memoryview, int, tuple[memoryview, ...]]
"""The program, the roots, the numbers, the address of the program, the ``fault`` of each kernel
that loads by index."""

LINE = CACHE_LINE // 8


@dataclass(frozen=True)
class Patch:
    """A slot of a member's CallArgs that is filled at each call: ``index`` says with what."""

    member: int
    slot: int
    index: int


@dataclass(frozen=True)
class Shape:
    """What all frames of some kernels have in common.

    slots    of each member's CallArgs
    told     bytes of them that a plan has
    beside   of each member, how many of its phase are before it
    patches  addresses of tensors, by root
    scalars  scalars, by number
    numbers  their values, as far as they are the same in every call
    roots    how many there are; the last ``colours`` of them lie in the arena
    faults   of members that load by index: the member, and the slot that tells of a wrong index
    """

    slots: tuple[int, ...]
    told: tuple[int, ...]
    beside: tuple[int, ...]
    patches: tuple[Patch, ...]
    scalars: tuple[Patch, ...]
    numbers: tuple[float, ...]
    roots: int
    colours: int
    faults: tuple[tuple[int, int], ...] = ()


class ChainFrames(list[Frame]):
    """The frames of one shape that no call uses. Lists append and pop atomically: no lock."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.no_offsets = array("q", [0] * len(shape.patches))

    def make(self) -> Frame:
        """One more; each part of it begins a cache line. What only a call knows is 0."""
        shape = self.shape
        arrays: dict[str, int] = {
            "roots": shape.roots,
            "numbers": len(shape.numbers),
            "kernels": len(shape.slots),
            "told": len(shape.slots),
            "beside": len(shape.slots),
            "patch": 2 * len(shape.patches),
            "scalar": 2 * len(shape.scalars),
        }
        parts = _parts([len(FIELDS), *arrays.values(), *shape.slots])
        program, at = parts[0], dict(zip(arrays, parts[1:], strict=False))
        members = parts[1 + len(arrays) :]
        kernels = [_address(part) for part in members]
        for name, part in at.items():
            program[SLOT[name]] = _address(part)
        counts = len(kernels), len(shape.patches), len(shape.scalars), shape.colours
        for name, number in zip(("members", "patches", "scalars", "colours"), counts, strict=True):
            program[SLOT[name]] = number
        program[SLOT["coloured"]] = _address(at["roots"]) + 8 * (shape.roots - shape.colours)
        at["kernels"][:], at["told"][:], at["beside"][:] = kernels, shape.told, shape.beside
        at["patch"][:] = _pairs(shape.patches, kernels)
        at["scalar"][:] = _pairs(shape.scalars, kernels)
        numbers = at["numbers"].view(np.float32)
        numbers[: len(shape.numbers)] = shape.numbers
        faults = tuple(members[member][slot : slot + 1].data for member, slot in shape.faults)
        return program.data, at["roots"].data, numbers.data, _address(program), faults


def _parts(sizes: Sequence[int]) -> list[Any]:
    """Arrays of so many slots, one behind the other in one piece of memory, each on its line."""
    lines = [-(-size // LINE) for size in sizes]
    memory = np.zeros((sum(lines) + 1) * LINE, dtype=np.int64)
    start, parts = (-memory.ctypes.data % CACHE_LINE) // 8, []
    for size, count in zip(sizes, lines, strict=True):
        parts.append(memory[start : start + size])
        start += count * LINE
    return parts


def _address(part: Any) -> int:
    return int(part.ctypes.data)


def _pairs(patches: Sequence[Patch], kernels: Sequence[int]) -> list[int]:
    return [word for p in patches for word in (kernels[p.member] + 8 * p.slot, p.index)]
