"""Random calls of a Subgraph: tensors and scalars that fit it, for any sizes of its axes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.subgraph import Subgraph
from snipjit.passes.base import run_pipeline
from snipjit.passes.graph import PIPELINE

Array = np.ndarray
Call = tuple[list[Array], list[float]]

SIZES: tuple[dict[str, int], ...] = (
    {"b0": 2, "b1": 3, "b2": 2, "m": 5, "n": 7, "d": 8, "e": 8},
    {"b0": 1, "b1": 2, "b2": 3, "m": 1, "n": 1, "d": 8, "e": 8},
    {"b0": 3, "b1": 1, "b2": 1, "m": 17, "n": 33, "d": 1, "e": 3},
    {"b0": 1, "b1": 1, "b2": 4, "m": 4, "n": 2, "d": 5, "e": 1},
)
"""Sizes by canonical axis: ordinary, single rows and columns, tails, more rows than columns."""


def random_call(subgraph: Subgraph, sizes: Mapping[str, int], seed: int = 0) -> Call:
    """Arrays and numbers for a positional Subgraph; float masks hold some -inf and hidden rows.

    Axes that ``sizes`` does not name have size 2; static ones keep theirs.
    """
    rng = np.random.default_rng(seed)
    canonical: Subgraph = run_pipeline(PIPELINE, subgraph)
    known = {axis: size or sizes.get(axis, 2) for axis, size in canonical.axes.items()}
    tensors = []
    for own, parameter in zip(subgraph.parameters, canonical.parameters, strict=True):
        ones = own.attrs.get("ones", ())
        dims = enumerate(parameter.type.dims)
        shape = [1 if i in ones else prod(known[axis] for axis in dim) for i, dim in dims]
        tensors.append(_tensor(rng, tuple(shape), own.type.dtype, masked=own.name == "mask"))
    return tensors, [float(x) for x in rng.uniform(0.5, 2.0, len(subgraph.scalars))]


def _tensor(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, masked: bool) -> Array:
    if dtype == "i1":
        visible: Array = rng.random(shape) < 0.6
        return visible
    values = rng.standard_normal(shape)
    return np.where(rng.random(shape) < 0.3, -np.inf, values) if masked else values


def assert_same_meaning(before: Subgraph, after: Subgraph, call: Call) -> None:
    """Both give the same results in float64, NaN and infinities included."""
    assert_results(after, call, interpret(before, *call))


def assert_results(subgraph: Subgraph, call: Call, expected: list[Array]) -> None:
    """The Subgraph gives these results in float64."""
    for want, have in zip(expected, interpret(subgraph, *call), strict=True):
        assert have.shape == want.shape
        np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-11)
