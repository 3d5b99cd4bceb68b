"""The benchmark of linear layers: its contestants, its shapes, small runs of each form."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from benchmarks import __main__ as command
from benchmarks import linear, linear_llama, linear_shapes, one_layer
from benchmarks.layers import BertLayer
from benchmarks.machine import Watch
from benchmarks.peers import openvino
from benchmarks.peers.base import Absent, Inputs
from benchmarks.precisions import PRECISIONS, Precision
from benchmarks.rounds import Plan
from benchmarks.sources import Form

QUICK = Plan(rounds=1, patience=1, slice=0.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured of the machine itself."""
    monkeypatch.setattr(linear.Machine, "measured", lambda: linear.Machine(1e11, 1e10))
    monkeypatch.setattr(Watch, "start", lambda: Watch(1.0))


@pytest.fixture
def tiny_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small layers, 3 of them for few rows and 1 for many."""
    for name, value in {"HIDDEN": 64, "INNER": 96, "LAYERS": 3, "MANY": 30}.items():
        monkeypatch.setattr(linear, name, value)


@pytest.mark.usefixtures("tiny_layers")
def test_linear_layers_of_a_model_in_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.inference_mode():
        report = linear.run([20, 40], [], QUICK, Console(width=200), tmp_path / "new" / "rows.png")
    rows = report["rows"]
    assert isinstance(rows, list)
    assert [(row["rows"], row["layers"]) for row in rows] == [(20, 3), (40, 1)]
    assert all(0 < row["of_floor"]["snipjit"] for row in rows)
    printed = capsys.readouterr().out.replace("\n", " ")
    assert "of the floor" in printed
    assert "* 4 matrices alone" in printed
    assert (tmp_path / "new" / "rows.png").stat().st_size > 1000


@pytest.mark.usefixtures("tiny_layers")
def test_linear_layers_go_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> linear.Call:
        raise Absent("not here")

    monkeypatch.setattr(linear, "_by_openvino", absent)
    noted: dict[str, str] = {}
    found = linear._contestants(nn.Sequential(), [linear.OPENVINO], noted)
    assert list(found) == ["eager", "eager again", "snipjit", "prepared"]
    assert noted == {"openvino": "not here"}


@pytest.mark.usefixtures("tiny_layers")
def test_openvino_has_a_model_for_each_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def as_is(form: Form, inputs: Inputs, precision: Precision) -> Form:
        made.append(form)
        torch.testing.assert_close(form(*inputs).shape[0], 2)
        return form

    monkeypatch.setattr(openvino, "compiled", as_is)
    model, x = nn.Sequential(BertLayer(64, 96), BertLayer(64, 96)), torch.randn(5, 64)
    assert torch.equal(linear._by_openvino(model)(x), model(x))
    assert len(made) == 8


def test_openvino_computes_the_layers() -> None:
    pytest.importorskip("openvino")
    with torch.inference_mode():
        model, x = nn.Sequential(BertLayer(768, 96)), torch.randn(5, 768)
        torch.testing.assert_close(linear._by_openvino(model)(x), model(x), rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("tiny_layers")
def test_16_bits_beside_float32(capsys: pytest.CaptureFixture[str]) -> None:
    with torch.inference_mode():
        console, bf16 = Console(width=200), PRECISIONS["bf16"]
        report = linear.run([5], [linear.OPENVINO], QUICK, console, precision=bf16)
    assert report["dtype"] == "bf16"
    assert report["absent"] == {"openvino": "not in bf16, which it computes in float32"}
    assert "f32, prepared" in capsys.readouterr().out


def test_random_shapes_are_the_same_for_a_seed() -> None:
    shapes = linear_shapes.draw(100, 3)
    assert shapes == linear_shapes.draw(100, 3) != linear_shapes.draw(100, 4)
    assert all(shape.is_even for shape in shapes[1::2])
    assert not all(shape.is_even for shape in shapes[::2])
    assert all(1 <= shape.rows <= 512 and 32 <= shape.inputs <= 8192 for shape in shapes)
    assert len([shape for shape in shapes if shape.rows < 23]) in range(35, 65)


def test_random_shapes_by_the_launcher(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"ROWS": (8, 20), "SIZES": (32, 64), "COLD": 40_000, "AGAIN": 1}.items():
        monkeypatch.setattr(linear_shapes, name, value)
    file, threads = tmp_path / "report.json", torch.get_num_threads()
    run = ["linear", "--shapes", "1", "--seed", "1", "--rounds", "1", "--json", str(file)]
    try:
        assert command.main(run) == 0
    finally:
        torch.set_num_threads(threads)
    report = json.loads(file.read_text())
    assert len(report["shapes"]) == len(report["worst"]) == 1
    for shape in report["shapes"]:
        assert set(shape["us"]) == {"eager", "snipjit", "prepared", "torch.compile"}
        assert all(shape["best"][name] >= shape["ratio"][name] > 0 for name in linear.OURS)
        assert shape["by_nodes"] == {"snipjit": False, "prepared": False}
    assert "by PyTorch's own nodes: snipjit 0, prepared 0" in capsys.readouterr().out


def test_a_layer_that_is_refused_is_pytorchs() -> None:
    x, weight, bias = (
        torch.randn(3, 8).double(),
        torch.randn(5, 8).double(),
        torch.zeros(5).double(),
    )
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = one_layer.compile_layer(x, weight, bias, "in_place")
        assert layer.by_nodes
        assert torch.equal(layer.call(*layer.given(x, weight, bias)), layer.around())


def test_a_token_of_llama_against_a_plain_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"HIDDEN": 128, "INNER": 256, "HEADS": 4, "KV_HEADS": 2, "LAYERS": 1}
    for name, value in sizes.items():
        monkeypatch.setattr(linear_llama, name, value)
    monkeypatch.setattr(linear_llama, "WEIGHTS", {"snipjit": "in_place"})
    with torch.inference_mode():
        report = linear_llama.run(QUICK, Console(quiet=True))
    assert report["bytes"] == 4 * (128 * (2 * 128 + 2 * 64) + 3 * 128 * 256)
    of_read = report["of_read"]
    assert isinstance(of_read, dict)
    assert list(of_read) == ["eager", "snipjit", "read"]
    assert of_read["read"] == 1.0
