"""What linear layers leave to PyTorch, with its reason; it warns only where it surprises."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import snipjit
from tests.linear_stays import ENDS, STAYS

OPTIONS: dict[str, Any] = {"fuse": ["linear"]}


@pytest.mark.parametrize("name", [*STAYS, *ENDS])
def test_stays(name: str, fresh: None) -> None:
    stay = {**STAYS, **ENDS}[name]
    model, x = stay.model(), stay.input()
    compiled = torch.compile(model, backend="snipjit", dynamic=True, options=OPTIONS)
    with warnings.catch_warnings(record=True) as caught, torch.inference_mode():
        warnings.simplefilter("always")
        torch.testing.assert_close(compiled(x), model(x), rtol=2e-5, atol=4e-6)
    stats = snipjit.stats()
    assert stats.subgraphs == stay.form.kernels
    assert len(stats.refusals) == bool(stay.reason)
    assert all(stay.reason in refusal.reason for refusal in stats.refusals)
    assert any("snipjit left" in str(warning.message) for warning in caught) == stay.warns
