"""Tests of ``snipjit/runtime/disk_cache.py``."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import snipjit
from snipjit import compiler
from snipjit.cli import commands as cli
from snipjit.compiler import compile_subgraph
from snipjit.runtime import disk_cache as module
from snipjit.runtime.disk_cache import DiskCache, disk_cache
from snipjit.runtime.kernel_cache import KERNELS, STRUCTURES, launcher_of
from tests import subgraphs
from tests.runtime.workers import scale_add


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DiskCache]:
    monkeypatch.setenv("SNIPJIT_CACHE", str(tmp_path / "kernels"))
    found = disk_cache()
    assert found is not None
    yield found
    forget()


def forget() -> None:
    """Everything that this process keeps in memory."""
    KERNELS.clear()
    STRUCTURES.clear()


def stored(cache: DiskCache) -> Path:
    kernel = scale_add()
    cache.store("key", kernel.recipe, kernel.object_code)
    (path,) = cache.entries()
    return path


def test_what_was_stored_is_loaded(kept: DiskCache) -> None:
    assert kept.load("key") is None
    stored(kept)
    kernel = scale_add()
    assert kept.load("key") == (kernel.recipe, kernel.object_code)
    assert kept.load("other") is None
    assert [path.suffix for path in kept.directory.iterdir()] == [".kernel"]
    assert kept.clear() == (1, [])
    assert kept.load("key") is None


@pytest.mark.parametrize("where", [0, 20, 60, 200, -1])
def test_a_flipped_byte_is_noticed(kept: DiskCache, where: int) -> None:
    path = stored(kept)
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    assert kept.load("key") is None


@pytest.mark.parametrize("length", [0, 1, 17, 48, 49, 300])
def test_a_cut_file_is_noticed(kept: DiskCache, length: int) -> None:
    path = stored(kept)
    path.write_bytes(path.read_bytes()[:length])
    assert kept.load("key") is None


def test_files_are_their_owners_alone(kept: DiskCache) -> None:
    path = stored(kept)
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept.directory.stat().st_mode & 0o777 == 0o700
    path.chmod(0o622)
    assert kept.load("key") is None
    kept.clear()
    kept.directory.chmod(0o777)
    kept.store("key", scale_add().recipe, b"")
    assert kept.entries() == []


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    cache = DiskCache(file / "below")
    cache.store("key", scale_add().recipe, b"")
    assert cache.load("key") is None
    assert (cache.entries(), cache.bytes(), cache.clear()) == ([], 0, (0, []))


def test_the_least_used_go_first(kept: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = scale_add().recipe
    for number, name in enumerate("abc"):
        kept.store(name, recipe, b"x" * 1000)
        os.utime(kept._path(name), (number, number))
    assert kept.load("a") is not None
    monkeypatch.setattr(module, "LIMIT_BYTES", kept.bytes())
    kept.store("d", recipe, b"x" * 1000)
    assert [kept.load(name) is not None for name in "abcd"] == [True, False, True, True]


def test_versions_and_targets_have_entries_of_their_own(
    kept: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(kept)
    monkeypatch.setattr(module, "_versions", lambda: "another")
    assert kept.load("key") is None


@pytest.mark.parametrize("head_size", [8, None], ids=["static", "dynamic"])
@pytest.mark.usefixtures("small_tiles")
def test_a_kept_kernel_is_not_compiled_again(
    kept: DiskCache, monkeypatch: pytest.MonkeyPatch, head_size: int | None
) -> None:
    subgraph, q = subgraphs.attention(D=head_size), torch.randn(2, 3, 17, 8)
    forget()
    snipjit.reset_stats()
    first = launcher_of(compile_subgraph(subgraph))(q, q, q, 0.5)
    assert snipjit.stats().kernels_loaded == 0
    forget()
    snipjit.reset_stats()
    for stage in ("lower", "assemble"):
        monkeypatch.delattr(compiler, stage)
    again = launcher_of(compile_subgraph(subgraph))(q, q, q, 0.5)
    assert torch.equal(torch.as_tensor(first), torch.as_tensor(again))
    assert (snipjit.stats().kernels_compiled, snipjit.stats().kernels_loaded) == (0, 1)


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for off in ("", "0", "off"):
        monkeypatch.setenv("SNIPJIT_CACHE", off)
        assert disk_cache() is None
    monkeypatch.delenv("SNIPJIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert disk_cache() == DiskCache(tmp_path / "snipjit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert disk_cache() == DiskCache(tmp_path / ".cache" / "snipjit")
    monkeypatch.setenv("SNIPJIT_CACHE", "~nobody-of-this-name/cache")
    assert disk_cache() is None
    monkeypatch.delenv("SNIPJIT_CACHE")
    monkeypatch.setenv("SNIPJIT_DUMP", str(tmp_path))
    assert disk_cache() is None


def test_a_cache_that_cannot_be_written_is_read(
    kept: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(kept)

    def refuse(path: Path) -> None:
        raise OSError(errno.EROFS, "read-only", path)

    monkeypatch.setattr(os, "utime", refuse)
    assert kept.load("key") is not None


def _another_content(path: Path, body: bytes) -> None:
    """Under a checksum that is right."""
    path.write_bytes(module.FORMAT + module._digest(path.name, body) + body)
    path.chmod(0o600)


def _no_recipe(path: Path) -> None:
    _another_content(path, b'{"x": 1}\nzzzz')


def _recipe_of_other_types(path: Path) -> None:
    head, _, code = path.read_bytes()[len(module.FORMAT) + 32 :].partition(b"\n")
    recipe = json.loads(head) | {"scratch_bytes": "many"}
    _another_content(path, json.dumps(recipe).encode() + b"\n" + code)


def _no_object_code(path: Path) -> None:
    body = path.read_bytes()[len(module.FORMAT) + 32 :]
    _another_content(path, body.partition(b"\n")[0] + b"\nzzzz")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _huge(path: Path) -> None:
    os.truncate(path, 60 << 30)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _another_entry(path: Path) -> None:
    """A whole entry, but of another kernel."""
    kernel = scale_add()
    cache = DiskCache(path.parent / "other")
    cache.store("other", kernel.recipe, kernel.object_code)
    (other,) = cache.entries()
    other.replace(path)


UNUSABLE = (
    _no_recipe, _recipe_of_other_types, _no_object_code, _fifo, _huge, _folder, _another_entry,
)  # fmt: skip


@pytest.mark.parametrize("spoil", UNUSABLE, ids=lambda spoil: spoil.__name__)
@pytest.mark.usefixtures("small_tiles")
def test_an_unusable_entry_is_compiled_anew(
    kept: DiskCache, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    subgraph, q = subgraphs.attention(D=None), torch.randn(2, 3, 17, 8)
    forget()
    first = launcher_of(compile_subgraph(subgraph))(q, q, q, 0.5)
    for path in kept.entries():
        spoil(path)
    forget()
    snipjit.reset_stats()
    again = launcher_of(compile_subgraph(subgraph))(q, q, q, 0.5)
    assert torch.equal(torch.as_tensor(first), torch.as_tensor(again))
    assert snipjit.stats().kernels_compiled == 1
    assert "compiled again" in caplog.text
    if spoil is not _folder:
        forget()
        launcher_of(compile_subgraph(subgraph))(q, q, q, 0.5)
        assert snipjit.stats().kernels_loaded == 1


def test_a_folder_does_not_keep_entries_from_being_deleted(
    kept: DiskCache, capsys: pytest.CaptureFixture[str]
) -> None:
    stored(kept)
    folder = kept.directory / "a.kernel"
    folder.mkdir()
    fifo = kept.directory / "b.kernel"
    os.mkfifo(fifo)
    assert cli.main(["cache", "--clear"]) == 2
    assert list(kept.directory.iterdir()) == [folder]
    out, err = capsys.readouterr()
    assert "2 files" in out
    assert str(folder) in err


def test_a_cache_that_cannot_be_written_is_said_once(
    kept: DiskCache, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.directory.touch()
    for name in "ab":
        kept.store(name, scale_add().recipe, b"")
    assert caplog.text.count("no kernel is kept on disk") == 1
    assert kept.load("a") is None
    assert cli.main(["cache"]) == 0
    assert "nothing more is kept" in capsys.readouterr().out


def test_the_command(kept: DiskCache, capsys: pytest.CaptureFixture[str]) -> None:
    stored(kept)
    assert cli.main(["cache"]) == 0
    assert "1 files" in capsys.readouterr().out
    assert cli.main(["cache", "--clear"]) == 0
    assert "0 files" in capsys.readouterr().out
    assert kept.entries() == []


def test_unfinished_files_go(kept: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(kept)
    abandoned = kept.directory / "killed.part"
    abandoned.touch()
    stored(kept)
    assert abandoned.exists()  # another process may be writing it
    monkeypatch.setattr(module, "ABANDONED_SECONDS", -1)
    stored(kept)
    assert not abandoned.exists()
    abandoned.touch()
    assert kept.clear() == (1, [])
    assert not abandoned.exists()
