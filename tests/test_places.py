"""Refusals tell where they are in the model, and of other nodes what they are."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snipjit
from tests.exported_models import tiny_attention


class Block(nn.Module):
    """Its attention returns what a sum over heads needs, and its softmax is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        weights = (x @ x.mT).softmax(-1).sin()
        result: Tensor = self.linear((weights @ x).double()).float()
        return result


class Model(nn.Module):
    """Two equal blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@pytest.fixture(autouse=True)
def _fresh(fresh: None) -> None:
    """Nothing traced or counted before."""


OPTIONS: dict[str, Any] = {"fuse": ["attention", "linear"]}
HERE = r"test_places\.py:\d+"


def reports(model: nn.Module, x: Tensor) -> list[snipjit.Report]:
    """What ``explain`` tells of a model, and of the same exported."""
    with torch.inference_mode():
        exported = torch.export.export(model, (x,))
        return [snipjit.explain(one, options=OPTIONS) for one in (exported,)] + [
            snipjit.explain(model, x, options=OPTIONS)
        ]


def test_refusals_name_module_and_line() -> None:
    for report in reports(Model().eval(), torch.randn(2, 3, 9, 16)):
        attention = [one for one in report.refusals if one.pattern == "attention"]
        linear = [one for one in report.refusals if one.pattern == "linear"]
        for number in (0, 1):
            assert re.search(rf"^blocks\.{number} \(.*{HERE}\)$", attention[number].place)
            assert re.search(rf"^blocks\.{number}\.linear \(.*{HERE}\)$", linear[number].place)
        assert len({one.reason for one in attention}) == 1
        assert "`sin`" in attention[0].reason


def test_equal_layers_have_one_reason() -> None:
    for report in reports(Model().eval(), torch.randn(2, 3, 9, 16)):
        lines = str(report).splitlines()
        assert sum("2 × attention" in line for line in lines) == 1
        assert any(
            line.lstrip().startswith("blocks.0 (") and ", blocks.1 (" in line for line in lines
        )
        assert not re.search(r"softmax_1|matmul_\d|linear_\d", str(report))


def test_statistics_tell_places_too() -> None:
    with torch.inference_mode():
        torch.compile(Model().eval(), backend="snipjit")(torch.randn(2, 3, 9, 16))
    first, _ = snipjit.stats().refusals
    assert re.match(rf"attention at blocks\.0 \(.*{HERE}\): ", str(first))


def test_inputs_have_the_models_names() -> None:
    with torch.inference_mode():
        report = snipjit.explain(Model().eval(), torch.randn(2, 3, 9, 16).double(), options=OPTIONS)
    assert not re.search(r"`l_|_modules_", str(report) + report.details())


def test_sizes_have_the_names_of_inputs() -> None:
    report = snipjit.explain(tiny_attention())
    assert report.sizes == (
        "ids.0 = mask.0 = kinds.0 in 1..64",
        "ids.1 = mask.1 = kinds.1 in 2..512",
    )
    assert not re.search(r"\bs\d+\b", str(report))
