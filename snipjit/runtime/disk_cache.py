"""DiskCache: object code and recipes of kernels, kept between processes.

An entry is one file: a line that names the format, the SHA-256 of the rest, a line of JSON (the
recipe), object code. Its name is the SHA-256 of what the kernel was compiled from, the target row
and the versions of everything that has a say. A file that is damaged, of another format, or not
this user's alone is not used: the kernel is compiled again. Nothing here raises for the sake of a
cache: without a directory to write to there is none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from snipjit import config
from snipjit.axis_sizes import TensorSpec
from snipjit.runtime.engine import compiler_version
from snipjit.runtime.runtime_configurator import ParallelLoop, Recipe, SplitLoop
from snipjit.version import __version__

log = logging.getLogger(__name__)

FORMAT = b"snipjit kernel 1\n"
LIMIT_BYTES = 256 << 20
"""When the entries exceed this, those that were used least lately go."""

ABANDONED_SECONDS = 3600
"""How old an unfinished file is that no process is writing any more."""


@dataclass(frozen=True)
class DiskCache:
    """The entries in one directory."""

    directory: Path

    def load(self, key: str) -> tuple[Recipe, bytes] | None:
        """The recipe and object code under a key; None if there is no entry to trust."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                if not _only_owner_writes(os.fstat(file.fileno())):
                    log.warning("%s can be written by others: not used", path)
                    return None
                content = file.read()
        except OSError:
            return None
        with contextlib.suppress(OSError):  # a cache may be read-only
            os.utime(path)
        entry = _unpack(content)
        if entry is None:
            log.warning("%s is damaged: compiled again", path)
        return entry

    def store(self, key: str, recipe: Recipe, object_code: bytes) -> None:
        """Write an entry in one step: a reader sees all of it or nothing."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _only_owner_writes(self.directory.stat()):
                log.warning("%s can be written by others: nothing is kept", self.directory)
                return
            descriptor, name = tempfile.mkstemp(dir=self.directory, suffix=".part")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_pack(recipe, object_code))
                Path(name).replace(self._path(key))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            self._trim()
        except OSError as error:
            log.info("kernel not kept on disk: %s", error)

    def entries(self) -> list[Path]:
        """The files, those used least lately first."""
        return [path for path, _ in self._sizes()]

    def clear(self) -> int:
        """Delete every entry, and what killed processes left; returns how many entries."""
        entries = self.entries()
        for path in [*entries, *self._unfinished()]:
            path.unlink(missing_ok=True)
        return len(entries)

    def bytes(self) -> int:
        """Bytes in all entries."""
        return sum(size for _, size in self._sizes())

    def _sizes(self) -> list[tuple[Path, int]]:
        """The files with their bytes, those used least lately first."""
        found = []
        with contextlib.suppress(OSError):
            for path in self.directory.glob("*.kernel"):
                with contextlib.suppress(OSError):
                    status = path.stat()
                    found.append((status.st_mtime, path, status.st_size))
        return [(path, size) for _, path, size in sorted(found)]

    def _unfinished(self) -> list[Path]:
        """Files that were not written to the end."""
        return list(self.directory.glob("*.part"))

    def _trim(self) -> None:
        for path in self._unfinished():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                    path.unlink(missing_ok=True)
        sizes = self._sizes()
        excess = sum(size for _, size in sizes) - LIMIT_BYTES
        for path, size in sizes:
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(f"{_versions()}\n{key}".encode()).hexdigest()
        return self.directory / f"{name}.kernel"


def disk_cache() -> DiskCache | None:
    """The cache of this process's settings; None if it is off."""
    directory = config.cache_directory()
    return DiskCache(directory) if directory is not None else None


def _pack(recipe: Recipe, object_code: bytes) -> bytes:
    body = json.dumps(asdict(recipe)).encode() + b"\n" + object_code
    return FORMAT + hashlib.sha256(body).digest() + body


def _unpack(content: bytes) -> tuple[Recipe, bytes] | None:
    start = len(FORMAT) + hashlib.sha256().digest_size
    body = content[start:]
    whole = content.startswith(FORMAT) and len(content) > start
    if not whole or hashlib.sha256(body).digest() != content[len(FORMAT) : start]:
        return None
    head, _, object_code = body.partition(b"\n")
    return _recipe(json.loads(head)), object_code


def _recipe(saved: dict[str, Any]) -> Recipe:
    tensors = ("inputs", "outputs")
    fields = {name: _tuples(value) for name, value in saved.items() if name not in tensors}
    for name in tensors:
        specs = [{field: _tuples(value) for field, value in spec.items()} for spec in saved[name]]
        fields[name] = tuple(TensorSpec(**spec) for spec in specs)
    fields["parallel"] = tuple(ParallelLoop(*loop) for loop in saved["parallel"])
    fields["split"] = SplitLoop(*saved["split"]) if saved["split"] else None
    return Recipe(**fields)


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that were saved."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _only_owner_writes(status: os.stat_result) -> bool:
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return mine and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@cache
def _versions() -> str:
    """What else decides the code: snipjit, down to its files, and LLVM."""
    package = Path(__file__).parents[1]
    files = [(str(path), path.stat()) for path in sorted(package.rglob("*.py"))]
    sources = repr([(name, s.st_size, s.st_mtime_ns) for name, s in files])
    digest = hashlib.sha256(sources.encode()).hexdigest()
    return f"{__version__} {digest} {compiler_version()}"
