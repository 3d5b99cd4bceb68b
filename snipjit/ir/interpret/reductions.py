"""What a product or a reduction of a LinearIR gives for one tile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from snipjit.ir.axis_arrays import align
from snipjit.ir.element_types import PAIRED, Array, round_to
from snipjit.ir.expression import Expression
from snipjit.ir.operations import MONOIDS


def product(e: Expression, *factors: tuple[tuple[str, ...], Array]) -> Array:
    """The sum of products of two factors, each with its axes."""
    axes = tuple(dict.fromkeys((*e.type.axes, *e.over)))
    terms: list[Any] = []
    for own, array in factors:
        held = round_to(PAIRED, array) if "pairs" in e.attrs else array
        terms += [held, [axes.index(axis) for axis in own]]
    present = {axis for own, _ in factors for axis in own}
    kept = [axis for axis in e.type.axes if axis in present]
    total = np.einsum(*terms, [axes.index(axis) for axis in kept])
    return align(total, tuple(kept), e.type.axes)


def reduced(e: Expression, own: tuple[str, ...], array: Array, sizes: Mapping[str, int]) -> Array:
    """An operand with the axes ``own``, combined over those of ``e`` and brought to its type.

    Where parts are kept apart in lanes the first one has it all: any would do.
    """
    monoid = MONOIDS[e.attrs["monoid"]]
    over = tuple(own.index(axis) for axis in e.over)
    kept = tuple(axis for axis in own if axis not in e.over)
    total = np.asarray(monoid.numpy(array, axis=over, initial=monoid.identity))
    for lanes in (axis for axis in e.type.axes if axis not in own):
        ends = [(0, 0)] * total.ndim + [(0, sizes[lanes] - 1)]
        total = np.pad(total[..., None], ends, constant_values=monoid.identity)
        kept = (*kept, lanes)
    return align(total, kept, e.type.axes)
