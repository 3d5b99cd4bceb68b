from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from snipjit.errors import UnsupportedError
from snipjit.ir.interpret.subgraph import interpret
from snipjit.ir.subgraph import Subgraph
from snipjit.ir.text.subgraph import print_subgraph
from snipjit.passes.base import run_pipeline
from snipjit.passes.graph import PIPELINE
from snipjit.passes.graph.sdpa_decomposition import SdpaDecomposition
from tests.subgraph_calls import SIZES, assert_same_meaning, random_call
from tests.subgraphs import sdpa


def _printed(subgraph: Subgraph) -> str:
    return print_subgraph(SdpaDecomposition().run(subgraph))


def test_golden_causal(golden: Callable[[str], None]) -> None:
    golden(_printed(sdpa(causal=True, scale=False)))


def test_golden_grouped_float_mask(golden: Callable[[str], None]) -> None:
    golden(_printed(sdpa("full", gqa=True)))


def test_golden_boolean_mask(golden: Callable[[str], None]) -> None:
    golden(_printed(sdpa("padding", boolean=True)))


def test_the_default_scale_needs_a_static_head() -> None:
    with pytest.raises(UnsupportedError, match="pass scale="):
        SdpaDecomposition().run(sdpa(D=None, scale=False))


def test_hidden_rows_give_zeros() -> None:
    subgraph = sdpa("full", boolean=True, D=4)
    (q, k, v, mask), scalars = random_call(subgraph, SIZES[0])
    mask[0, 0, 0] = False
    (found,) = interpret(run_pipeline(PIPELINE, subgraph), [q, k, v, mask], scalars)
    np.testing.assert_array_equal(found[0, 0, 0], 0.0)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("gqa", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("mask", "boolean"), [(None, False), ("full", True), ("padding", False)])
def test_every_combination_keeps_its_meaning(
    mask: str | None, boolean: bool, causal: bool, gqa: bool
) -> None:
    subgraph = sdpa(mask, boolean, causal, gqa, D=8)
    canonical = run_pipeline(PIPELINE, subgraph)
    for seed, sizes in enumerate(SIZES):
        assert_same_meaning(subgraph, canonical, random_call(subgraph, sizes, seed))
