"""The benchmark of whole models: who is wrong or missing is named, the rest is timed and drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import nn

from benchmarks import __main__ as command
from benchmarks import rounds
from benchmarks.latency_plot import curve
from benchmarks.linear import Machine
from benchmarks.models import apart, contestants, onnxruntime, peers, run, table
from benchmarks.models.case import (
    Family,
    Forms,
    Inputs,
    dynamic_dims,
    fixed,
    linear_work,
    noise,
    sharing_copy,
)
from benchmarks.models.results import Result, mean_lead, missing
from benchmarks.models.tables import notes, overview
from benchmarks.peers import openvino
from benchmarks.peers.base import Absent
from benchmarks.precisions import BF16
from benchmarks.rounds import Timing

MACHINE = Machine(1e11, 1e10)


class Scaled(nn.Linear):
    """A model of one layer."""

    scale = 1.0

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """[M, 24] to [M, 40]."""
        return nn.functional.gelu(super().forward(input)) * self.scale


def by_two(model: nn.Module) -> None:
    assert isinstance(model, Scaled)
    model.scale = 2.0


TINY = Family(
    "tiny",
    lambda: Scaled(24, 40),
    {f"tiny-{rows}": partial(lambda rows: (fixed(noise(rows, 24), 1),), rows) for rows in (3, 31)},
)


@pytest.fixture(autouse=True)
def _no_peers_and_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_module(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setenv("CXX", "no-such-compiler")
    for module in (openvino, onnxruntime):
        monkeypatch.setattr(module, "import_module", no_module)
    monkeypatch.setattr(Machine, "measured", staticmethod(lambda: MACHINE))


@pytest.mark.long
def test_the_command_writes_table_json_and_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "FAMILIES", (TINY,))
    file, plot = tmp_path / "new" / "models.json", tmp_path / "drawn" / "models.png"
    threads = torch.get_num_threads()
    try:
        options = ["--rounds", "1", "--json", str(file), "--plot", str(plot)]
        assert command.main(["models", "--models", "tiny", *options]) == 0
    finally:
        torch.set_num_threads(threads)
    text, report = capsys.readouterr().out, json.loads(file.read_text())
    assert "FMA peak 100 GFLOP/s, plain read 10.0 GB/s" in text
    assert "no openvino: it is not installed: pip install -e '.[peers]'" in text
    assert "no onnxruntime: onnx is not installed: pip install -e '.[peers]'" in text
    assert "no frozen: there is no C++ compiler here (no-such-compiler)" in text
    assert plot.stat().st_size > 1000
    assert [case["model"] for case in report["models"]] == ["tiny-3", "tiny-31"]
    for case in report["models"]:
        assert set(case["ms"]) == {"eager", "snipjit", "prepared", "program"}
        assert set(case["absent"]) == {*peers.PEERS, "with inductor"} - {"eager"}
        assert case["ratio"]["prepared"]["prepared"] == 1
        assert case["lead"]["snipjit"] == pytest.approx(case["ms"]["eager"] / case["ms"]["snipjit"])
        low, high = case["quartiles_ms"]["eager"]
        assert low <= case["ms"]["eager"] <= high
        assert case["errors"]["prepared"] < 1e-5
        assert case["control"] > 0
    assert set(report["starts"]["tiny"]) == {"eager", "snipjit", "prepared", "program"}
    assert report["mean_lead"]["prepared"] > 0


def test_wrong_and_failing_peers_are_named_and_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(forms: Forms, sets: Sequence[Inputs]) -> Any:
        raise RuntimeError("no such luck\nand more")

    def fails_later(*tensors: torch.Tensor) -> torch.Tensor:
        if len(tensors[0]) == 31:
            raise ValueError("31 is too much")
        return forms.eager(*tensors)  # type: ignore[no-any-return]

    with torch.inference_mode():
        wrong = Family("tiny", TINY.build, TINY.cases, by_two)
        forms, sets = Forms(wrong), [make() for make in TINY.cases.values()]
        makers = {
            "eager": peers.PEERS["eager"],
            "sdpa": peers.PEERS["sdpa"],
            "frozen": fails,
            "static": lambda forms, sets: fails_later,
        }
        found = contestants.prepare(forms, sets, makers)
        first, second = (contestants.check(found, forms, inputs) for inputs in sets)
    assert set(first.calls) == {"eager", "static"}
    assert set(second.calls) == {"eager"}
    assert "differs from eager by 1 of the range" in first.absent["sdpa"]
    assert first.absent["frozen"] == "RuntimeError: no such luck"
    assert second.absent["static"] == "ValueError: 31 is too much"
    assert first.errors["sdpa"] == pytest.approx(1)


@pytest.mark.long
def test_a_contestant_in_a_process_of_its_own() -> None:
    (family,) = table.select(["minilm-16"])
    with torch.inference_mode():
        forms = Forms(family)
        sets = forms.inputs()
        own = apart.make("eager", forms, sets)
        call = own.bound(*sets[0])
        torch.testing.assert_close(call(), forms.eager(*sets[0]))
        assert rounds._seconds(call) > 0
        memory = own.memory()
        weights = sum(weight.nbytes for weight in forms.eager.parameters())
        assert memory.whole >= memory.calls > weights
        own.close()
        with pytest.raises(Absent, match=r"not installed|lacks|compiler"):
            apart.make("zentorch", forms, sets)


def test_inputs_are_in_the_type_of_the_model() -> None:
    cases = {"a": lambda: (fixed(noise(3, 24), 1), torch.arange(3))}
    forms = Forms(Family("tiny", TINY.build, cases), BF16)
    ((floats, numbers),) = forms.inputs()
    assert (floats.dtype, numbers.dtype) == (torch.bfloat16, torch.int64)
    assert dynamic_dims(floats) == [0]
    assert forms.eager(floats).dtype == torch.bfloat16
    assert forms.exact(floats).dtype == torch.float32


def test_forms_share_their_weights() -> None:
    forms = Forms(Family("tiny", TINY.build, TINY.cases, by_two))
    assert isinstance(forms.sdpa, Scaled)
    assert isinstance(forms.eager, Scaled)
    assert (forms.sdpa.scale, forms.eager.scale) == (2.0, 1.0)
    assert forms.sdpa.weight is forms.eager.weight
    assert sharing_copy(forms.eager).bias is forms.eager.bias
    assert Forms(TINY).sdpa is not Forms(TINY).eager
    only = Forms(TINY)
    assert only.sdpa is only.eager


def test_work_of_linear_layers_and_floor() -> None:
    model = nn.Sequential(nn.Linear(24, 40), nn.Conv1d(1, 1, 1), nn.Linear(40, 8))
    work = linear_work(model, (torch.zeros(5, 1, 24),))
    assert work.flops == 2 * 5 * (24 * 40 + 40 * 8)
    assert work.weights == 4 * (24 * 40 + 40 * 8)
    assert MACHINE.least(10**11, 10) == 1
    assert MACHINE.least(10, 10**10) == 1


def test_names_select_cases_and_families() -> None:
    cases = [case for family in table.FAMILIES for case in family.cases]
    assert len(cases) == len(set(cases)) == 19
    assert {*cases, "bert", "llama", "whisper"} <= set(table.names())
    chosen = table.select(["llama", "bert-31", "vit-8"])
    assert [list(family.cases) for family in chosen] == [
        ["bert-31"],
        ["llama-128"],
        ["llama-step"],
        ["vit-8"],
    ]
    assert [family.in_mean for family in chosen] == [True, True, False, True]
    for family in table.FAMILIES:
        if family.name in ("bert", "vit"):
            for make in family.cases.values():
                assert all(tensor.numel() for tensor in make())


def test_inductor_is_asked_for_together_with_ours_on_it() -> None:
    assert list(run._makers(["sdpa"])) == ["eager", "sdpa", "snipjit", "prepared", "program"]
    assert "with inductor" in run._makers(["inductor"])


def test_sizes_of_a_model_are_fixed_for_every_peer() -> None:
    tensor = fixed(torch.zeros(2, 3, 5), 2)
    assert openvino._shape(tensor) == [-1, -1, 5]
    assert dynamic_dims(tensor) == [0, 1]
    assert dynamic_dims(torch.zeros(1, 7)) == [1]


def result(name: str, seconds: dict[str, list[float]], **kept: Any) -> Result:
    return Result(name, 0.5, Timing(seconds), {}, kept.pop("absent", {}), **kept)


def test_results_are_summed_up() -> None:
    good = result("good", {"eager": [9.0], "sdpa": [4.0], "snipjit": [2.0], "prepared": [1.0]})
    bad = result("bad", {"eager": [1.0], "prepared": [1.0]}, absent={"sdpa": "none here"})
    step = result("step", {"eager": [1.0], "prepared": [9.0]}, in_mean=False)
    results = [good, bad, step]
    assert (good.best_peer, good.lead("snipjit"), good.lead("prepared")) == ("sdpa", 2, 4)
    assert (bad.lead("snipjit"), bad.control, bad.of_floor("prepared")) == (None, None, 0.5)
    assert mean_lead(results, "prepared") == pytest.approx(2)
    assert missing(results) == {"sdpa": {"none here": ["bad"]}}
    *_, mean = notes(results)
    assert "(without step): snipjit 2.00×, prepared 2.00×" in mean
    console = Console(width=160, record=True, file=StringIO())
    console.print(overview(results, "all"))
    assert "4.00×" in console.export_text()


def test_quartiles_of_a_timing() -> None:
    timing = Timing({"a": [1.0, 2.0, 3.0, 4.0, 5.0], "b": [7.0]})
    assert timing.quartiles("a") == (2.0, 4.0)
    assert timing.quartiles("b") == (7.0, 7.0)


def test_a_curve_is_smooth_and_a_disturbed_text_does_not_bend_it() -> None:
    lengths = [length for length in range(4, 100) for _ in range(3)]
    times = [10.0 + length * (0.95, 1.0, 1.05)[number % 3] for number, length in enumerate(lengths)]
    times[150:153] = [900.0] * 3
    found = curve(lengths, times)
    for length, line, low, high in zip(*found, strict=True):
        assert line == pytest.approx(10 + length, rel=0.05)
        assert low < line < high < 1.1 * line
