"""The benchmarks: shapes, fair rounds, checks before timing; small runs of every command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import perf_counter

import pytest
import torch
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import attention, candidates, demo, dynamic, first_call, machine, structures
from benchmarks.fma_peak import fma_peak
from benchmarks.latency_plot import medians_by_length
from benchmarks.lengths import text_lengths
from benchmarks.machine import Watch
from benchmarks.precisions import BF16, PRECISIONS
from benchmarks.rounds import Plan, Timing, measure
from snipjit.runtime.engine import host_features
from snipjit.target.target_machine import select

QUICK = Plan(rounds=2, patience=1, slice=0.0)


class Scripted(Watch):
    """A watch that calls rounds spoiled as it is told."""

    def __init__(self, verdicts: list[bool]) -> None:
        super().__init__(1.0)
        self.verdicts = verdicts

    def spoiled(self, state: tuple[float, float]) -> bool:
        return self.verdicts.pop(0) if self.verdicts else False


def test_lengths_are_many_short_ones_with_a_tail() -> None:
    lengths = text_lengths(200)
    assert lengths == text_lengths(200)
    assert abs(sum(lengths) / 200 - 31) < 1
    assert 50 <= len(set(lengths)) <= 70
    assert max(lengths) > 90


def test_spoiled_rounds_are_repeated() -> None:
    calls: list[str] = []
    contestants = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    timing = measure(contestants, Plan(3, 2, 0.0), Scripted([True, False, True, False]))
    assert len(timing.seconds["a"]) == len(timing.seconds["b"]) == 3
    assert (timing.spoiled, timing.disturbed) == (2, False)


def test_patience_ends() -> None:
    timing = measure({"a": lambda: None}, Plan(3, 2, 0.0), Scripted([True] * 99))
    assert (timing.spoiled, timing.disturbed) == (6, True)
    assert len(timing.seconds["a"]) == 6


def test_ratio_is_taken_within_rounds() -> None:
    timing = Timing({"ours": [1.0, 2.0, 3.0], "theirs": [2.0, 4.0, 9.0]})
    assert timing.median("ours") == 2.0
    assert timing.ratio("ours", "theirs") == 2.0


def test_lead_is_over_the_fastest_of_each_round() -> None:
    seconds = {"ours": [1.0, 1.0, 1.0], "a": [2.0, 9.0, 4.0], "b": [9.0, 3.0, 5.0]}
    assert Timing(seconds).lead("ours", ["a", "b"]) == 3.0


def test_watch_sees_a_slow_machine_and_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 0.0, 0.0, 0.0, 0.0, 1e9])
    monkeypatch.setattr(machine, "seconds_of_others", lambda: next(seconds))
    watch = Watch(best=1.0)
    monkeypatch.setattr(machine, "calibrate", lambda: 1.1)
    assert not watch.spoiled(watch.begin())
    monkeypatch.setattr(machine, "calibrate", lambda: 2.0)
    assert watch.spoiled(watch.begin())
    monkeypatch.setattr(machine, "calibrate", lambda: 1.0)
    assert watch.spoiled(watch.begin())


def test_what_this_process_uses_is_not_of_others() -> None:
    before, end = machine.seconds_of_others(), perf_counter() + 0.2
    while perf_counter() < end:
        pass
    others = machine.seconds_of_others() - before
    assert -0.1 < others < 0.2 * (os.cpu_count() or 1) + 0.1


def test_matmul_peak_is_a_rate() -> None:
    assert 1e6 < machine.matmul_peak(torch.bfloat16, (32, 64), rounds=2) < 1e14


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_attention_command_writes_json(
    dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "matmul_peak", lambda _: 1e11)
    path = tmp_path / "new" / "report.json"
    arguments = ["attention", "--rows", "short", "--peers", "eager", "sdpa", "--rounds", "1"]
    arguments += ["--dtype", dtype, "--json", str(path)]
    threads = torch.get_num_threads()
    try:
        assert command.main(arguments) == 0
    finally:
        torch.set_num_threads(threads)
    report = json.loads(path.read_text())
    (row,) = report["rows"]
    assert report["dtype"] == dtype
    assert report["matmul_gflops"] == 100
    assert row["row"] == "short"
    assert set(row["ms"]) == {"eager", "sdpa", "snipjit", "compile"}
    assert row["gflops"] > 0
    assert row["best_peer"] in ("eager", "sdpa")
    assert report["mean_lead"] == pytest.approx(row["lead"])


def test_forms_of_the_dynamic_benchmark_agree() -> None:
    inputs = dynamic._inputs(9)
    torch.testing.assert_close(dynamic.eager(*inputs), dynamic.sdpa(*inputs))


def test_dynamic_compiles_once_a_schedule() -> None:
    with torch.inference_mode():
        report = dynamic.run(12, QUICK, Console(quiet=True))
    assert report["kernels"] in (0, 1, 2)  # fewer where another test compiled the same
    assert isinstance(report["error"], float)
    assert report["error"] < 1e-5


@pytest.mark.long
def test_first_calls_have_processes_of_their_own() -> None:
    report = first_call.run([1], 1, True, Console(quiet=True))
    cold, warm = report["rows"]
    assert cold["kernels"] == cold["compiled"] == warm["kernels"] > 2
    assert warm["compiled"] == 0
    for row in (cold, warm):
        assert row["whole"] > row["ours"] >= row["find"] + row["translate"] + row["compile"] > 0
    assert report["further_layer_ms"] == {"cold": None, "warm": None}


@pytest.mark.long
def test_demo_ends_with_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "OUT", tmp_path)
    monkeypatch.setattr(demo, "_export_and_run", lambda model, console: None)
    monkeypatch.setenv("CXX", "no-such-compiler")
    report = demo.run(9, 1, Console(quiet=True))
    counts: dict[str, int] = {}
    for name in PRECISIONS:
        part = report[name]
        assert isinstance(part, dict)
        counts[name] = len(part["lengths"])
        assert {len(times) for times in part["ms"].values()} == {counts[name]}
        ran = {"eager", "sdpa", "snipjit", "prepared"}
        assert ran <= set(part["ms"]) == set(part["first_call_seconds"])
        assert ("no-such-compiler" in part["absent"].get("inductor", "")) == (name == "f32")
    assert counts == {"f32": 9, "bf16": 2, "f16": 2}
    assert (tmp_path / "latency.png").stat().st_size > 1000


def test_demo_fails_where_ours_is_worse_than_eager() -> None:
    part = demo.Part(BF16, [5], milliseconds={"eager": [1.0], "snipjit": [1.0]})
    part.errors = {"eager": 0.01, "snipjit": 0.015}
    demo._show(part, Console(quiet=True))
    part.errors["snipjit"] = 0.03
    with pytest.raises(SystemExit, match="results of snipjit in bf16 differ"):
        demo._show(part, Console(quiet=True))
    part.errors = {"eager": 0.0, "snipjit": demo.TOLERANCE / 2}
    assert part.allowed == demo.TOLERANCE


def test_class_medians() -> None:
    part = demo.Part(BF16, [10, 12, 20], milliseconds={"eager": [1.0, 3.0, 7.0]})
    assert part.class_median("eager", 1, 16) == 2.0
    assert medians_by_length([5, 3, 5], [1.0, 2.0, 3.0]) == {3: 2.0, 5: 2.0}


def test_candidates_are_measured_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = {"linear": lambda: structures.linear(48, 80)}
    monkeypatch.setattr(candidates, "GRAPHS", graphs)
    file = tmp_path / "report.json"
    run = [
        "--structures",
        "linear",
        "--rows",
        "1",
        "40",
        "400",
        "--rounds",
        "1",
        "--json",
        str(file),
    ]
    threads = torch.get_num_threads()
    try:
        assert command.main(["candidates", *run]) == 0
    finally:
        torch.set_num_threads(threads)
    (found,) = json.loads(file.read_text())["found"]
    assert [row["chosen"] for row in found["rows"]] == ["columns", "rows", "outputs"]
    for row in found["rows"]:
        assert set(row["ms"]) == {"rows", "columns", "outputs"}
        assert row["flops"] == 2 * 48 * 80 * row["rows"]


def test_the_fma_peak_is_a_rate() -> None:
    assert fma_peak(select(host_features()), rounds=1) > 1e8
