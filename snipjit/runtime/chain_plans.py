"""Plans of a chain: for one set of sizes which kernels run, and where everything lies."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import fx

from snipjit.errors import InputError
from snipjit.runtime.arena import Colouring
from snipjit.runtime.chain_frames import ChainFrames, Patch, Shape
from snipjit.runtime.chain_script import Made, Script, number_key
from snipjit.runtime.chain_text import dump_chain
from snipjit.runtime.chain_walk import NotInOneError, Walk
from snipjit.runtime.frames import Frames
from snipjit.runtime.interface import Ints
from snipjit.runtime.launcher import Plan

ChainPlan = tuple[Any, ...]
"""How to call for one key: the frames; the addresses of ``starts``, ``values`` and ``offsets``;
whether one thread does it all; bytes of scratchpad of a worker and for all together; bytes of the
arena; shape and strides of each result; at last what keeps the addresses alive."""


@dataclass(frozen=True, eq=False)
class Layouts:
    """Shape and strides of each weight in turn, as one part of a key.

    Weights are most of what a chain is given, and hardly ever change. Equal layouts of late in one
    chain are one object, which is found sooner than its parts.
    """

    parts: tuple[Ints, ...]


BY_MEMBERS: ChainPlan = ("launches one by one",)
"""The plan of a call in which each launch is a call of its launcher."""


class Planner:
    """Makes the plans of one chain. Colours are given at the first one."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._layouts = lru_cache(maxsize=64)(Layouts)
        self._colouring: dict[None, Colouring] = {}
        self._frames: dict[tuple[int, ...], ChainFrames] = {}

    @property
    def colouring(self) -> Colouring | None:
        """Of ``script.inner``; None before the first call."""
        return self._colouring.get(None)

    def layouts_of(self, weights: Sequence[torch.Tensor]) -> Layouts:
        """How weights are laid out."""
        return self._layouts(tuple(part for w in weights for part in (w.shape, w.stride())))

    def plan(self, key: tuple[Any, ...]) -> ChainPlan:
        """For layouts of weights, shape and strides of each other input, what views are told.

        What does not fit is for the launch in question to say.
        """
        if not self.script.is_plain:
            return BY_MEMBERS
        weights, *others = key
        try:
            return self._plan(Walk(self.script, (*weights.parts, *others)))
        except (NotInOneError, InputError, RuntimeError, TypeError, IndexError):
            return BY_MEMBERS

    def _plan(self, walk: Walk) -> ChainPlan:
        inner = [walk.made[made].bytes for made in self.script.inner]
        colouring = self.colouring
        if colouring is None:  # whoever comes first decides, here and in ``_frames_of``
            made = Colouring.of(self.script.lives(), inner)
            colouring = self._colouring.setdefault(None, made)
            dump_chain(self.script, colouring)
        *starts, end = colouring.starts(inner)
        patches, offsets = self._pointers(walk, colouring)
        frames = self._frames_of(walk.plans, patches, colouring.count)
        values = [plan[6] for plan in walk.plans]
        held = array("q", [*starts, *map(_address_of, values)])
        moved = array("q", offsets) if any(offsets) else frames.no_offsets
        address = held.buffer_info()[0]
        layouts = [part for made in self.script.leaving for part in walk.made[made][:2]]
        return (
            *(frames, address, address + 8 * len(starts), moved.buffer_info()[0]),
            all(plan[2] for plan in walk.plans),
            *(max(plan[4] for plan in walk.plans), max(plan[5] for plan in walk.plans), end),
            *layouts,
            (held, moved, *{id(value): value for value in values}.values()),
        )

    def _pointers(self, walk: Walk, colouring: Colouring) -> tuple[list[Patch], list[int]]:
        """The slots of all tensors, and how far behind its root each lies."""
        places = self._places(colouring)
        patches, offsets = [], []
        for number, (member, sources) in enumerate(
            zip(self.script.members, walk.sources, strict=True)
        ):
            interface = member.launcher.structure.interface
            inputs = [
                (spec.name, *source) for spec, source in zip(interface.inputs, sources, strict=True)
            ]
            outputs = [
                (spec.name, *walk.written((number, part)))
                for part, spec in enumerate(interface.outputs)
            ]
            for name, root, offset in (*inputs, *outputs):
                place = root if isinstance(root, int) else places[root]
                patches.append(Patch(number, interface.fields.index(f"data.{name}"), place))
                offsets.append(offset)
        return patches, offsets

    def _places(self, colouring: Colouring) -> dict[Made, int]:
        """The root of what has memory: after what is given come those that leave, then colours."""
        first = len(self.script.given)
        places = {made: first + i for i, made in enumerate(self.script.leaving)}
        first += len(places)
        coloured = zip(self.script.inner, colouring.colours, strict=True)
        return places | {made: first + colour for made, colour in coloured}

    def _frames_of(
        self, plans: Sequence[Plan], patches: Sequence[Patch], colours: int
    ) -> ChainFrames:
        """The frames of these kernels, which have views of the same roots at all sizes."""
        kernels: list[Frames] = [plan[0] for plan in plans]
        key, numbers = tuple(map(id, kernels)), self.script.numbers
        frames = self._frames.get(key)
        if frames is None:
            shape = Shape(
                tuple(kernel.slots for kernel in kernels),
                tuple(8 * kernel.told for kernel in kernels),
                tuple(self.script.beside),
                tuple(patches),
                tuple(self._scalars()),
                tuple(0.0 if isinstance(n, fx.Node) else float(n) for n in numbers),
                len(self.script.given) + len(self.script.leaving) + colours,
                colours,
                tuple(self._faults()),
            )
            frames = self._frames.setdefault(key, ChainFrames(shape))
        if frames.shape.patches != tuple(patches):
            raise NotInOneError
        return frames

    def _faults(self) -> Iterator[tuple[int, int]]:
        for number, member in enumerate(self.script.members):
            interface = member.launcher.structure.interface
            if interface.gathered:
                yield number, interface.fields.index("fault")

    def _scalars(self) -> list[Patch]:
        places = {number_key(number): i for i, number in enumerate(self.script.numbers)}
        return [
            Patch(m, interface.fields.index(f"scalar.{name}"), places[number_key(number)])
            for m, member in enumerate(self.script.members)
            for interface in [member.launcher.structure.interface]
            for name, number in zip(interface.scalars, member.scalars, strict=True)
        ]


def _address_of(values: bytes) -> int:
    return int(np.frombuffer(values, np.uint8).ctypes.data)
