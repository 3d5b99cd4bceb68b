"""What ``explain`` tells: counts and entries by pattern, refusals by reason, options of its own."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snipjit
from snipjit.cli import commands as cli
from tests.exported_models import tiny_attention

BOTH: dict[str, Any] = {"fuse": ["attention", "linear"]}
Q = (2, 3, 9, 16)


class Layers(nn.Module):
    """Two equal layers before and behind an attention, and a softmax over classes."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(16, 16, dtype=dtype), nn.Linear(16, 16, dtype=dtype)

    def forward(self, q: Tensor) -> Tensor:
        q = self.a(q)
        result: Tensor = self.b((q @ q.mT).softmax(-1) @ q).sum(1).softmax(-1)
        return result


@pytest.fixture(autouse=True)
def _fresh(fresh: None) -> None:
    """Nothing traced or counted before."""


def explained(options: Any = BOTH, dtype: torch.dtype = torch.float32) -> snipjit.Report:
    with torch.inference_mode():
        model = Layers(dtype).eval()
        return snipjit.explain(model, torch.randn(Q, dtype=dtype), options=options)


def test_counts_and_entries_name_their_pattern() -> None:
    report = explained()
    lines = report.details().splitlines()
    assert lines[0] == str(report).splitlines()[0]
    assert lines[0] == "1 attention, 2 linear subgraph(s) in 1 graph(s), 2 kernel(s); 1 refused"
    entries = [line.split()[1] for line in lines if line.startswith("[") and "] " in line[:5]]
    assert entries == ["attention:", "linear:", "linear:"]
    assert "    the same kernel as [2]" in lines
    assert any(line.startswith("[refused, as expected] attention: ") for line in lines)


@pytest.mark.parametrize("fuse", [["linear"], ["attention"], []])
def test_options_say_what_is_looked_for(fuse: list[str]) -> None:
    report = explained({"fuse": fuse})
    assert report.patterns == tuple(fuse)
    assert {one.pattern for one in report.subgraphs} == set(fuse)
    assert str(report).startswith("0 subgraph(s)") == (not fuse)


def test_by_default_it_is_what_is_compiled() -> None:
    model, q = Layers().eval(), torch.randn(Q)
    with torch.inference_mode():
        report = snipjit.explain(model, q)
        torch.compile(model, backend="snipjit", dynamic=True)(q)
    stats = snipjit.stats()
    assert stats.subgraphs == sum(stats.patterns.values()) == len(report.subgraphs)
    assert {*stats.patterns} == {one.pattern for one in report.subgraphs}


@pytest.mark.parametrize(
    "options", [{"fuse": "linear"}, {"fuse": ["lstm"]}, {"fast": True}, {"rest": "gpu"}, 3]
)
def test_bad_options(options: Any) -> None:
    with pytest.raises(snipjit.OptionError, match=r"accepted: |is not one of "):
        explained(options)


def test_equal_reasons_are_told_once() -> None:
    report = explained(dtype=torch.float64)
    for text in (str(report), report.details()):
        assert text.count("accepted: torch.float32") == 1
    assert "2 × linear as expected: " in str(report)
    assert "[refused, as expected] linear: a (tests/test_explanation.py:" in report.details()
    assert [one.pattern for one in report.refusals].count("linear") == 2


def test_what_is_expected_does_not_warn() -> None:
    model, q = Layers(torch.float64).eval(), torch.randn(Q, dtype=torch.float64)
    options: dict[str, Any] = {"fuse": ["linear"]}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("error")
        torch.compile(model, backend="snipjit", options=options)(q)
    refusals = snipjit.stats().refusals
    assert len(refusals) == 2
    assert all(one.is_expected and str(one).startswith("linear at ") for one in refusals)


def test_gradients_are_a_refusal_of_each_pattern() -> None:
    model, q = Layers().eval(), torch.randn(Q)
    report = snipjit.explain(model, q, options=BOTH)
    needing = [one.pattern for one in report.refusals if "torch.no_grad()" in one.reason]
    assert sorted(needing) == ["attention", "linear", "linear"]
    with pytest.warns(UserWarning, match="left all attention and linear layers of a graph"):
        torch.compile(model, backend="snipjit", options=BOTH)(q)


@pytest.mark.parametrize("road", ["explain", "run"])
def test_options_of_the_command_line(
    road: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.pt2"
    torch.export.save(tiny_attention(), path)
    command = [road, str(path), *(("--repeat", "1") if road == "run" else ())]
    assert cli.main([*command, "--option", "fuse=attention,linear"]) == 0
    assert "1 attention, 1 linear subgraph(s)" in capsys.readouterr().out
    assert cli.main([*command, "--option", "fuse=linear", "--option", "rest=eager"]) == 0
    assert " 1 linear subgraph(s)" in " " + capsys.readouterr().out
    for words, message in (
        (["fuse=lstm"], "option fuse has 'lstm'; accepted: attention, linear"),
        (["fast=1"], "unknown option 'fast'; accepted: rest, fuse"),
        (["rest=gpu"], "option rest='gpu' is not one of 'eager', 'inductor'"),
        (["rest=eager", "rest=inductor"], "--option rest is given twice"),
    ):
        given = [word for text in words for word in ("--option", text)]
        assert cli.main([*command, *given]) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        assert message in captured.err
