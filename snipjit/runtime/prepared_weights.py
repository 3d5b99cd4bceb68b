"""Prepared weights: each is written once in the blocks that kernels read, and again if it changes.

What was written belongs to the weight: it goes when the weight goes, and a weight that another one
shares its memory with has the same blocks. Whether a weight has changed is asked at each call, by
its version and its address; ``refresh`` is for writes that PyTorch does not count.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from snipjit.runtime.host import LOCK
from snipjit.torch_private import StorageReference, version

Write = Callable[[torch.Tensor], torch.Tensor]


def shape_of_blocks(shape: Iterable[int], block: int, swapped: bool) -> tuple[int, ...]:
    """The shape of the blocks of a weight [n][k], or of one given as [k][n]."""
    columns, summed = tuple(shape)[::-1] if swapped else tuple(shape)
    return -(-columns // block), summed, block


@dataclass(frozen=True, eq=False)
class Blocks:
    """What was written, and the memory it was made from, which keeps its identity meanwhile."""

    tensor: torch.Tensor
    source: StorageReference = field(repr=False)


class _Entry(NamedTuple):
    """The weight, how it was when it was written, and what that gave."""

    weight: weakref.ref[torch.Tensor]
    version: int
    address: int
    blocks: Blocks


@dataclass(eq=False)
class Form:
    """One way to write weights: blocks of so many columns ``n`` as [n/block][k][block].

    block     columns of a block
    swapped   whether weights are given as [k][n]; else as [n][k]
    write     writes one
    """

    block: int
    swapped: bool
    write: Write
    _entries: dict[int, _Entry] = field(default_factory=dict)
    _shared: weakref.WeakValueDictionary[Any, Blocks] = field(
        default_factory=weakref.WeakValueDictionary
    )

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        """The blocks of a weight; what has three dims is taken for blocks."""
        entry = self._entries.get(id(weight))
        if (
            entry is not None
            and entry.weight() is weight
            and entry.address == weight.data_ptr()
            and entry.version == version(weight)
        ):
            return entry.blocks.tensor
        return weight if weight.dim() == 3 else self._written(weight)

    def shape(self, shape: Iterable[int]) -> tuple[int, ...]:
        """The shape of the blocks of a weight of some shape."""
        return shape_of_blocks(shape, self.block, self.swapped)

    def forget(self, weight: torch.Tensor | None = None) -> None:
        """Drop what was written of a weight and of what shares its memory; of all, if None."""
        with LOCK:
            if weight is None:
                self._entries.clear()
                return
            address = weight.data_ptr()
            for place, entry in list(self._entries.items()):
                if entry.weight() is weight or entry.address == address:
                    self._entries.pop(place, None)

    def _written(self, weight: torch.Tensor) -> torch.Tensor:
        with LOCK:
            source = StorageReference(weight)
            layout = (source.identity, weight.storage_offset(), weight.shape, weight.stride())
            key = (*layout, version(weight))
            blocks = self._shared.get(key)
            if blocks is None:
                with torch.no_grad():
                    blocks = Blocks(self.write(weight), source)
                self._shared[key] = blocks
            place = id(weight)
            gone = weakref.ref(weight, lambda _: self._entries.pop(place, None))
            self._entries[place] = _Entry(gone, key[-1], weight.data_ptr(), blocks)
            return blocks.tensor

    @property
    def bytes(self) -> int:
        """Bytes of all blocks, each counted once."""
        found = {id(e.blocks): e.blocks.tensor.nbytes for e in list(self._entries.values())}
        return sum(found.values())


FORMS: dict[object, Form] = {}
"""Every form of the process, by what it was compiled from."""


def refresh(weights: Iterable[torch.Tensor] | None = None) -> None:
    """Have weights written anew when they are next read; all of them, if None."""
    for form in list(FORMS.values()):
        for weight in [None] if weights is None else list(weights):
            form.forget(weight)


def prepared_bytes() -> int:
    """Bytes of memory that prepared weights take."""
    return sum(form.bytes for form in list(FORMS.values()))
