"""What a shell may do to the command, and programs that write to their inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from snipjit.cli import commands as cli

ROOT = Path(__file__).parent.parent


def shell(line: str) -> tuple[int, str]:
    """Status and standard error of ``python -m snipjit`` in a shell."""
    command = f"{sys.executable} -m snipjit {line}"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    return run.returncode, run.stderr


def test_output_that_cannot_be_written() -> None:
    assert shell("info > /dev/full") == (
        2,
        "snipjit: error: cannot write the output: No space left on device\n",
    )
    assert shell("info >&-") == (2, "snipjit: error: standard output is closed\n")


def test_names_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "a" * 300]) == 2
    assert "File name too long" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["run", "m.pt2", "--size", "q.2=99999999999999999999"])
    assert "is not an integer of 64 bits" in capsys.readouterr().err


class Adds(torch.nn.Module):
    """Writes to its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.add_(1) * 2


def test_a_program_that_writes_to_its_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "adds.pt2"
    torch.export.save(torch.export.export(Adds(), (torch.randn(3),)), path)
    assert cli.main(["run", str(path), "--compare", "--repeat", "3"]) == 0
    assert "error     0.0e+00" in capsys.readouterr().out
