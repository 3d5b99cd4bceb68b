"""Graphs of real models: what is lifted means what the nodes mean, and equal layers are equal.

How many attentions are found in which model is in ``tests/test_models.py``.
"""

from __future__ import annotations

import warnings
from functools import cache

import pytest

pytest.importorskip("transformers")
pytest.importorskip("diffusers")

from snipjit.ir.text.subgraph import print_subgraph
from tests.models import named
from tests.passes.fx.support import Capture, assert_equal_to_eager, dynamo, exported

implementations = pytest.mark.parametrize("implementation", ["eager", "sdpa"])


@cache
def _traced(name: str, implementation: str) -> Capture:
    """What Dynamo makes of a model, traced once for all tests."""
    case = named(name)
    (capture,) = dynamo(case.model(implementation), **case.inputs(*case.sizes[0]))
    return capture


@pytest.mark.parametrize(
    ("name", "implementation"),
    [
        ("Bert", "eager"),
        ("Bert", "sdpa"),
        ("Llama", "sdpa"),
        ("T5", "eager"),
        pytest.param("Llama", "eager", marks=pytest.mark.models),
        pytest.param("T5", "sdpa", marks=pytest.mark.models),
    ],
)
def test_dynamo(name: str, implementation: str) -> None:
    capture = _traced(name, implementation)
    assert not capture.tokens.refusals
    assert_equal_to_eager(capture)
    # T5 masks encoder, decoder and cross attention in ways of their own.
    distinct = {print_subgraph(candidate.subgraph) for candidate in capture.tokens.candidates}
    assert len(distinct) <= (3 if name == "T5" else 1)


@pytest.mark.parametrize("name", ["Bert", pytest.param("Llama", marks=pytest.mark.models)])
@implementations
def test_exported(name: str, implementation: str) -> None:
    """An exported program and Dynamo's graph give one structure."""
    case = named(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        capture = exported(case.model(implementation), (), case.inputs(*case.sizes[0]))
    assert_equal_to_eager(capture)
    traced = _traced(name, implementation)
    assert len(capture.tokens.candidates) == len(traced.tokens.candidates) == case.fused
    ours, theirs = (of.tokens.candidates[0].subgraph for of in (capture, traced))
    assert print_subgraph(ours) == print_subgraph(theirs)
