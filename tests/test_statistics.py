"""``stats()`` counts graphs, recompilations with their causes, calls and fallbacks; and logs."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import snipjit
from snipjit.frontend import recompilations
from snipjit.runtime.launcher import Launcher
from snipjit.runtime.structure import Structure
from tests.exported_models import tiny_attention
from tests.runtime.workers import scale_add_structure

ROOT = Path(__file__).parent.parent


class Attention(nn.Module):
    """With a number that Dynamo builds in."""

    def forward(self, q: Tensor, extra: str = "") -> Tensor:
        result: Tensor = (q @ q.mT).softmax(-1) @ q * len(extra + "x")
        return result


@pytest.fixture(autouse=True)
def _fresh(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing traced, counted or explained before."""
    monkeypatch.setattr(recompilations, "_told", set())


def called(lengths: tuple[int, ...], **options: Any) -> list[str]:
    """What is warned of while a model is called with texts of some lengths."""
    compiled = torch.compile(Attention().eval(), backend="snipjit", **options)
    with warnings.catch_warnings(record=True) as caught, torch.inference_mode():
        warnings.simplefilter("always")
        for length in lengths:
            compiled(torch.randn(2, 3, length, 16))
    return [str(one.message) for one in caught if "Dynamo compiles" in str(one.message)]


def test_recompilations_have_their_causes() -> None:
    (message,) = called((9, 11, 13))
    assert "torch.compile(..., dynamic=True)" in message
    stats = snipjit.stats()
    assert (stats.graphs, len(stats.recompilations)) == (2, 1)
    assert "size mismatch" in stats.recompilations[0]
    assert "L[" not in stats.recompilations[0]
    assert stats.recompilations[0] in str(stats)


def test_one_graph_serves_all_sizes() -> None:
    assert called((9, 11, 13), dynamic=True) == []
    stats = snipjit.stats()
    assert (stats.graphs, stats.recompilations, stats.kernel_calls) == (1, (), 3)


def test_sizes_of_one_are_counted_and_not_warned_of() -> None:
    assert called((9, 1), dynamic=True) == []
    stats = snipjit.stats()
    assert stats.graphs == 2
    assert stats.recompilations == ("2 <= q.size()[2]",)


def test_a_kind_of_cause_is_explained_once() -> None:
    assert len(called((9, 11))) == 1
    assert called((9, 11)) == []


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("tensor 'q' size mismatch at index 2. expected 9, actual 11", "dynamic=True"),
        ("tensor 'q' dispatch key set mismatch. expected DispatchKeySet(CPU)", "inference_mode"),
        ("GLOBAL_STATE changed: grad_mode", "inference_mode"),
        ("GLOBAL_STATE changed: num_threads", "threads"),
        ("scale == 0.5", "pass a tensor"),
    ],
)
def test_what_helps(cause: str, words: str) -> None:
    assert words in (recompilations.advice_for(cause) or "")


def test_nothing_helps_against_sizes_of_one_and_types() -> None:
    for cause in (
        "2 <= q.size()[2]",
        "tensor 'q' dtype mismatch. expected Float, actual BFloat16",
        "tensor 'q' size mismatch at index 0. expected 1, actual 2",
        "tensor 'q' size mismatch at index 0. expected 7, actual 1",
    ):
        assert recompilations.advice_for(cause) is None


def test_programs_are_graphs() -> None:
    snipjit.compile(tiny_attention())
    assert (snipjit.stats().graphs, snipjit.stats().recompilations) == (1, ())


def test_functions_given_up() -> None:
    compiled = torch.compile(Attention().eval(), backend="snipjit", dynamic=True)
    q = torch.randn(2, 3, 9, 16)

    def call() -> None:
        for length in range(11):
            compiled(q, "a" * length)

    with torch.inference_mode(), pytest.warns(UserWarning, match="Dynamo makes no more graphs"):
        call()
    assert snipjit.stats().given_up == 1
    assert "1 function(s) given up by Dynamo" in str(snipjit.stats())


def test_calls_that_pytorch_serves_are_fallbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(2, 3, 4)
    launcher = Launcher(scale_add_structure(), nodes=lambda x, y, s: x * s + y)
    launcher(x, x, 0.5)
    assert (launcher.calls, launcher.fallbacks) == (1, 0)
    monkeypatch.setattr(Structure, "prefers_nodes", lambda structure, shapes: True)
    launcher(x[:1], x[:1], 0.5)
    assert (launcher.calls, launcher.fallbacks) == (2, 1)


def test_reset_forgets() -> None:
    called((9, 11))
    snipjit.reset_stats()
    stats = snipjit.stats()
    assert (stats.graphs, stats.recompilations, stats.refusals) == (0, (), ())


def test_graphs_and_refusals_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "snipjit")
    called((9, 11))
    assert "1 attention of a graph fused, 0 refused" in caplog.text
    assert "compiled again: " in caplog.text


@pytest.mark.long
def test_torch_logs_takes_the_package() -> None:
    code = (
        "import torch\n"
        "f = torch.compile(lambda q: (q @ q.mT).softmax(-1) @ q, backend='snipjit')\n"
        "with torch.inference_mode(): f(torch.randn(2, 3, 9, 16))\n"
    )
    for setting, texts in (
        ("snipjit", ("1 attention of a graph fused",)),
        ("+snipjit", ("1 attention of a graph fused", "kernel compiled")),
        ("-snipjit", ()),
    ):
        told = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={"TORCH_LOGS": setting, "SNIPJIT_CACHE": "0", "PATH": "/usr/bin:/bin"},
        ).stderr
        assert all(text in told for text in texts)
        assert ("kernel compiled" in told) == (setting == "+snipjit")
