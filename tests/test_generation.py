"""Decoding under ``generate()``: the tokens of eager, and no compilation as the cache grows."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import snipjit
from snipjit.ir.schedule import Schedule
from snipjit.runtime.engine import host_features
from snipjit.target.candidates import candidate
from snipjit.target.target_machine import select

pytest.importorskip("transformers")

from tests.models.case import Case
from tests.models.generation import GENERATORS

QUICK = ("Llama-eager-dynamic",)
"""What runs with ``make test``."""

FEW = candidate(select(host_features()), Schedule.COLUMNS).most_rows
LENGTHS = [n for n in range(max(FEW, 10) + 1, FEW + 99) if all(n % f for f in range(2, n))]
"""Lengths of prompts that are never of few rows: primes, which are no other size of a model too."""
STEPS = ((5, LENGTHS[0], 1), (24, LENGTHS[2], 1), (9, LENGTHS[1], 2))
"""New tokens, length of the prompt, and beams: the first call compiles."""


def _runs() -> list[Any]:
    runs = []
    for case in GENERATORS:
        for implementation in case.implementations:
            for cache in ("dynamic", "static"):
                name = f"{case.name}-{implementation}-{cache}"
                marks = [] if name in QUICK else [pytest.mark.models]
                runs.append(pytest.param(case, implementation, cache, id=name, marks=marks))
    return runs


@pytest.mark.parametrize(("case", "implementation", "cache"), _runs())
def test_generation(case: Case, implementation: str, cache: str) -> None:
    model: Any = case.model(implementation)

    def generate(new: int, length: int, beams: int) -> torch.Tensor:
        options: dict[str, Any] = {"max_new_tokens": new, "min_new_tokens": new, "num_beams": beams}
        options["cache_implementation"] = None if cache == "dynamic" else cache
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inputs = case.inputs(2, length)
            tokens: torch.Tensor = model.generate(
                **inputs, **options, do_sample=False, pad_token_id=0, eos_token_id=None
            )
        return tokens

    expected = [generate(*step) for step in STEPS]
    torch._dynamo.reset()
    snipjit.reset_stats()
    model.forward = torch.compile(model.forward, backend="snipjit", dynamic=True)
    compiled = []
    for step, tokens in zip(STEPS, expected, strict=True):
        assert torch.equal(generate(*step), tokens)
        compiled.append(snipjit.stats().kernels_compiled)
    stats = snipjit.stats()
    assert not stats.refusals
    assert len(set(compiled)) == 1
    steps = sum(new for new, _, _ in STEPS)
    assert stats.kernel_calls == case.fused * steps
    # One graph for the prompt and one or two for the steps.
    assert stats.subgraphs in (2 * case.fused, 3 * case.fused)
