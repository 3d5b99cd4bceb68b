"""The command line: what it prints, its exit status, and one line for each error of the user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from snipjit.cli import commands as cli
from snipjit.target.target_machine import TARGETS
from snipjit.version import __version__
from tests.exported_models import tiny_attention


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "tiny.pt2"
    torch.export.save(tiny_attention(), path)
    return path


def test_run_prints_what_was_compiled(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(model), "--repeat", "1", "--size", "ids.1=31"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "inputs    int64[2, 31], float32[2, 31], int64[2, 31]"
    assert any(line.startswith("fused     1 attention") for line in lines)
    assert any(line.startswith("dynamic") and line.endswith("in 2..512") for line in lines)
    assert "outputs   float32[2, 31, 64]" in lines


def test_compare_prints_error_and_speed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", str(model), "--compare", "--repeat", "2"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "median of 2 calls" in lines["snipjit"]
    assert "ratio" in lines["eager"]
    assert "of the output's range" in lines["error"]


def test_wrong_results_are_status_1(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "error_between", lambda ours, eager: (0.5, 0.25))
    assert cli.main(["run", str(model), "--compare", "--repeat", "1"]) == 1
    assert "differ by more than 0.001" in capsys.readouterr().err


def test_inputs_from_a_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "inputs.pt"
    ids = torch.ones(1, 9, dtype=torch.long)
    torch.save({"ids": ids, "mask": torch.zeros(1, 9), "kinds": ids}, path)
    assert cli.main(["run", str(model), "--inputs", str(path), "--repeat", "1"]) == 0
    assert "float32[1, 9, 64]" in capsys.readouterr().out


def test_a_module_that_cannot_be_imported(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", str(model), "--import", "elsewhere"])
    assert "'elsewhere' cannot be imported" in capsys.readouterr().err


def test_threads_are_set(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        assert cli.main(["run", str(model), "--threads", "1", "--repeat", "1"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert "1 threads" in capsys.readouterr().out


def test_explain_names_the_subgraph(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", str(model)]) == 0
    assert "brgemm" not in capsys.readouterr().out
    assert cli.main(["explain", str(model), "--detail"]) == 0
    output = capsys.readouterr().out
    assert "brgemm" in output
    assert "softmax" in output


def test_info_names_host_target_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    output = capsys.readouterr().out
    version = torch.__version__.split("+")[0]
    for text in (__version__, version, "target", *(row.name for row in TARGETS)):
        assert text in output


def one_line_error(capsys: pytest.CaptureFixture[str]) -> str:
    """What went to stderr, which must be one line; stdout must be empty."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("command", ["run", "explain"])
def test_missing_and_damaged_files(
    command: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.pt2"
    assert cli.main([command, str(path)]) == 2
    assert "model.pt2: no such file" in one_line_error(capsys)
    path.write_bytes(model.read_bytes()[:5000])
    assert cli.main([command, str(path)]) == 2
    assert "damaged" in one_line_error(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "nothing=3"], "no dynamic size is called 'nothing'"),
        (["--size", "ids.1=1000"], "size ids.1=1000 is outside 2..512"),
        (["--inputs", "missing.pt"], "missing.pt: no such file"),
        (["--inputs", "missing.pt", "--size", "ids.1=3"], "--size is for random inputs"),
    ],
)
def test_options_that_do_not_fit_the_model(
    arguments: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", str(model), *arguments]) == 2
    assert message in one_line_error(capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["run"], "required: MODEL.pt2"),
        (["run", "m.pt2", "--fast"], "unrecognized arguments: --fast"),
        (["run", "m.pt2", "--threads", "0"], "'0' is not a positive integer"),
        (["run", "m.pt2", "--repeat", "many"], "'many' is not a positive integer"),
        (["run", "m.pt2", "--tolerance", "nan"], "'nan' is not a positive number"),
        (["run", "m.pt2", "--size", "ids.1"], "'ids.1' is not of the form NAME=INT"),
        (["run", "m.pt2", "--option", "fuse"], "'fuse' is not of the form NAME=VALUE"),
        (["explain", "m.pt2", "--option", "=1"], "'=1' is not of the form NAME=VALUE"),
    ],
)
def test_bad_command_lines(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert message in one_line_error(capsys)


@pytest.mark.parametrize(
    "saved",
    [
        {"x": torch.zeros(1)},
        (torch.zeros(1, 9),),
        {
            "ids": torch.zeros(1, 9),
            "mask": torch.zeros(1, 9),
            "kinds": torch.zeros(1, 9, dtype=torch.long),
        },
        {
            "ids": torch.full((1, 9), 100),
            "mask": torch.zeros(1, 9),
            "kinds": torch.zeros(1, 9, dtype=torch.long),
        },
    ],
    ids=["other names", "too few", "wrong dtype", "index outside the table"],
)
def test_inputs_that_do_not_fit_the_model(
    saved: object, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "inputs.pt"
    torch.save(saved, path)
    assert cli.main(["run", str(model), "--inputs", str(path)]) == 2
    assert "error: " in one_line_error(capsys)


def test_module_entry_point() -> None:
    command = [sys.executable, "-m", "snipjit", "--version"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output == f"snipjit {__version__}\n"
