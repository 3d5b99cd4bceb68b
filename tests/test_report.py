"""The summary of ``explain``: a line a kind, shares of the work, what PyTorch runs."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

import snipjit
from tests.exported_models import tiny_attention

pytestmark = pytest.mark.all_patterns


class Layer(nn.Module):
    """One of BERT, small."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(64, 64) for _ in range(3))
        self.up, self.down, self.norm = nn.Linear(64, 256), nn.Linear(256, 64), nn.LayerNorm(64)

    def forward(self, x: Tensor) -> Tensor:
        split = (one(x).unflatten(-1, (4, 16)).transpose(1, 2) for one in (self.query, self.key))
        q, k = split
        v = self.value(x).unflatten(-1, (4, 16)).transpose(1, 2)
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        result: Tensor = self.norm(self.down(nn.functional.gelu(self.up(y))) + x)
        return result


class Layers(nn.Module):
    """Several, and a sort that PyTorch runs."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Layer() for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x).sort(-1).values
        return result


@pytest.fixture(autouse=True)
def _fresh(fresh: None) -> None:
    """Nothing traced or counted before."""


def explained(layers: int = 3) -> snipjit.Report:
    with torch.inference_mode():
        return snipjit.explain(Layers(layers).eval(), torch.randn(2, 9, 64))


def test_a_line_for_each_kind() -> None:
    text = str(explained())
    assert re.search(r"^ +3 × attention .* 1 kernel: d16$", text, re.MULTILINE)
    line = next(line for line in text.splitlines() if "× linear" in line)
    for form in ("64→3×64", "64→256 gelu", "256→64 sum"):
        assert f"3 of {form}" in line
    assert re.search(r"^ +1 × sort ", text, re.MULTILINE)


def test_it_does_not_grow_with_the_layers() -> None:
    assert len(str(explained(6)).splitlines()) == len(str(explained(2)).splitlines()) < 20


def test_shares_are_of_all() -> None:
    report = explained()
    kernels, rest = (sum(one.cost.flops for one in of) for of in (report.subgraphs, report.left))
    assert report.cost.flops == kernels + rest
    assert kernels > 0.95 * report.cost.flops
    linear = sum(one.cost.flops for one in report.subgraphs if one.pattern == "linear")
    assert linear >= 3 * 2 * 18 * 64 * (3 * 64 + 2 * 256)


def test_bytes_are_what_tensors_take() -> None:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.linear = nn.Embedding(1000, 64), nn.Linear(64, 32)

        def forward(self, ids: Tensor) -> Tensor:
            result: Tensor = self.linear(self.table(ids))
            return result

    with torch.inference_mode():
        ids = torch.zeros(2, 9, dtype=torch.long)
        report = snipjit.explain(One().eval(), ids, options={"fuse": ["linear"]})
    (linear,), (lookup,) = report.subgraphs, report.left
    assert linear.cost.bytes == 4 * (18 * 64 + 64 * 32 + 32 + 18 * 32)
    assert lookup.cost.bytes == 4 * (18 * 64 + 18 * 64) + 8 * 18
    assert lookup.operation == "embedding"


def test_details_hold_the_rest() -> None:
    report = snipjit.explain(tiny_attention())
    assert "brgemm" not in str(report)
    assert "--detail" in str(report)
    assert "brgemm" in report.details()
