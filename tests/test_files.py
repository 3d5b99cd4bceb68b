"""Reading .pt2 files and saved inputs: what is intact loads, what is damaged is refused."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from snipjit.errors import InputError
from snipjit.frontend.files import load_inputs, load_pt2
from tests.exported_models import tiny_attention


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "tiny.pt2"
    torch.export.save(tiny_attention(), path)
    return path


def test_intact_file_loads(intact: Path) -> None:
    assert load_pt2(intact).graph_signature.user_inputs == ("ids", "mask", "kinds")
    assert load_pt2(str(intact)).range_constraints


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_pt2(tmp_path / "missing.pt2")
    with pytest.raises(InputError, match="is not a file"):
        load_pt2(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not an archive\n" * 99, b"PK\x03\x04"])
def test_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pt2"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.pt2: not a file that .*, or a damaged one"):
        load_pt2(path)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(InputError, match="but not one that torch"):
        load_pt2(path)


def test_archive_of_another_version_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "other.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/archive_format", "pt2")
        archive.writestr("other/archive_version", "999")
    with pytest.raises(InputError, match="cannot load the program in it"):
        load_pt2(path)
    assert not caplog.records


def test_truncated_file_is_refused(intact: Path, tmp_path: Path) -> None:
    content = intact.read_bytes()
    path = tmp_path / "short.pt2"
    for length in (100, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="short"):
            load_pt2(path)


def test_flipped_bits_never_change_the_program(intact: Path, tmp_path: Path) -> None:
    """torch.export.load alone returns other weights for most of these."""
    content, draw = intact.read_bytes(), random.Random(0)
    weights = load_pt2(intact).state_dict
    path = tmp_path / "flipped.pt2"
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = load_pt2(path).state_dict
        except InputError:
            refused += 1
            continue
        assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert refused > 30


def test_inputs_of_every_form(tmp_path: Path) -> None:
    path, x = tmp_path / "inputs.pt", torch.arange(3)
    for saved in ((x, 2.0), [x, 2.0]):
        torch.save(saved, path)
        args, kwargs = load_inputs(path)
        assert torch.equal(args[0], x)
        assert args[1:] == (2.0,)
        assert kwargs == {}
    torch.save(x, path)
    assert torch.equal(load_inputs(path)[0][0], x)
    torch.save({"x": x}, path)
    args, kwargs = load_inputs(path)
    assert args == ()
    assert torch.equal(kwargs["x"], x)


def test_bad_inputs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "inputs.pt"
    with pytest.raises(InputError, match="no such file"):
        load_inputs(path)
    for content in (b"", b"text", b"PK\x03\x04 something"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"not a file that torch\.save wrote"):
            load_inputs(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"text")
    with pytest.raises(InputError, match=r"torch\.load cannot read it"):
        load_inputs(path)
    torch.save("a string", path)
    with pytest.raises(InputError, match="holds a str"):
        load_inputs(path)


LIBRARY = """
from dataclasses import dataclass
from typing import Any
import torch

@dataclass
class Result:
    states: Any

torch.export.register_dataclass(Result, serialized_type_name="resultlib.Result")
"""

EXPORTS = {
    "resultlib.Result": """
import resultlib
class Model(torch.nn.Module):
    def forward(self, q): return resultlib.Result((q @ q.mT).softmax(-1) @ q)
args = (torch.randn(2, 3, 7, 16),)
""",
    "transformers.modeling_outputs": """
from transformers import BertConfig, BertModel
config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=32, vocab_size=99)
Model, args = lambda: BertModel(config), (torch.ones(2, 7, dtype=torch.long),)
""",
    "diffusers.models.autoencoders.vae": """
from diffusers import AutoencoderKL
class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = AutoencoderKL(block_out_channels=(32,), norm_num_groups=8)
    def forward(self, x): return self.model.decode(x)
args = (torch.randn(1, 4, 8, 8),)
""",
}
"""Models whose results are of a type that a library registers, by the type or its module."""


def _in_a_process(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with ``resultlib`` on its path."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{Path.cwd()}"}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def _exported(folder: Path, name: str) -> Path:
    (folder / "resultlib.py").write_text(LIBRARY)
    text = f"import torch{EXPORTS[name]}\nexported = torch.export.export(Model().eval(), args)\n"
    done = _in_a_process(folder, "-c", text + "torch.export.save(exported, 'model.pt2')")
    assert done.returncode == 0, done.stderr
    return folder / "model.pt2"


def test_a_type_that_nobody_registered_is_named(tmp_path: Path) -> None:
    path = _exported(tmp_path, "resultlib.Result")
    told = r"takes or returns a resultlib\.Result.*snipjit run --import resultlib"
    with pytest.raises(InputError, match=told):
        load_pt2(path)
    run = ("-m", "snipjit", "run", str(path), "--repeat", "1")
    done = _in_a_process(tmp_path, *run, "--import", "resultlib")
    assert done.returncode == 0, done.stderr
    assert "fused     1 attention" in done.stdout


@pytest.mark.models
@pytest.mark.parametrize("name", [name for name in EXPORTS if not name.startswith("resultlib")])
def test_types_of_known_libraries_are_found(tmp_path: Path, name: str) -> None:
    path = _exported(tmp_path, name)
    done = _in_a_process(tmp_path, "-m", "snipjit", "explain", str(path))
    assert done.returncode == 0, done.stderr
    assert " subgraph(s) in 1 graph(s)" in done.stdout
