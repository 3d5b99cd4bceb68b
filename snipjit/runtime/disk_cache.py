"""DiskCache: object code and recipes of kernels, kept between processes.

An entry is one file: a line that names the format, the SHA-256 of its name and the rest, a line of
JSON (the recipe), object code. Its name is the SHA-256 of what the kernel was compiled from, the
target row and the versions of everything that has a say. What stands under a name and is damaged,
of another format, no file, larger than any kernel, or not this user's alone is not used: the kernel
is compiled again. Nothing here raises for the sake of a cache: without a directory to write to
there is none, which is said once.
"""

from __future__ import annotations

import contextlib
import errno
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

from snipjit import config
from snipjit.runtime.engine import compiler_version
from snipjit.runtime.plain_data import decode
from snipjit.runtime.runtime_configurator import Recipe
from snipjit.version import __version__

log = logging.getLogger(__name__)

FORMAT = b"snipjit kernel 3\n"
LIMIT_BYTES = 256 << 20
"""When the entries exceed this, those that were used least lately go."""

LIMIT_ENTRY = 64 << 20
"""No kernel has so many bytes: a file that has is not read."""

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
            content = _read(path)
            with contextlib.suppress(OSError):  # a cache may be read-only
                os.utime(path)
            return _unpack(path.name, content)
        except FileNotFoundError:
            return None
        except (OSError, _UnusableError) as error:
            log.warning("%s is not used, its kernel is compiled again: %s", path, error)
            return None

    def store(self, key: str, recipe: Recipe, object_code: bytes) -> None:
        """Write an entry in one step: a reader sees all of it or nothing."""
        path = self._path(key)
        try:
            self._write(path, _pack(path.name, recipe, object_code))
            self._trim()
        except OSError as error:
            _warn_once(f"{self.directory}: no kernel is kept on disk ({error})")

    def problem(self) -> str | None:
        """Why nothing can be kept in the directory, as found by writing to it; None if it can."""
        try:
            self._prepare()
            with tempfile.TemporaryFile(dir=self.directory) as file:
                file.write(FORMAT)
        except OSError as error:
            return str(error)
        return None

    def _prepare(self) -> None:
        """The directory, made where it is missing. OSError if others can write to it."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _only_owner_writes(self.directory.stat()):
            raise PermissionError(errno.EPERM, "others can write to it", str(self.directory))

    def _write(self, path: Path, content: bytes) -> None:
        self._prepare()
        descriptor, name = tempfile.mkstemp(dir=self.directory, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def entries(self) -> list[Path]:
        """The files, those used least lately first."""
        return [path for path, _ in self._sizes()]

    def clear(self) -> tuple[int, list[OSError]]:
        """Delete every entry, and what killed processes left.

        Returns how many entries went, and why others stayed, such as a folder of an entry's name.
        """
        stayed: list[OSError] = []
        entries = self.entries()
        for path in [*entries, *self._unfinished()]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                stayed.append(error)
        return sum(not os.path.lexists(path) for path in entries), stayed

    def bytes(self) -> int:
        """Bytes in all entries."""
        return sum(size for _, size in self._sizes())

    def _sizes(self) -> list[tuple[Path, int]]:
        """The files with their bytes, those used least lately first."""
        found = []
        with contextlib.suppress(OSError):
            for path in self.directory.glob("*.kernel"):
                with contextlib.suppress(OSError):
                    status = path.lstat()
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
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                excess -= size

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(f"{_versions()}\n{key}".encode()).hexdigest()
        return self.directory / f"{name}.kernel"


def disk_cache() -> DiskCache | None:
    """The cache of this process's settings; None if it is off."""
    directory = config.cache_directory()
    return DiskCache(directory) if directory is not None else None


class _UnusableError(Exception):
    """What stands under an entry's name is none; the message says what it is."""


def _read(path: Path) -> bytes:
    """The content of a file that only its owner can write. Opening a FIFO does not wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _UnusableError("it is no file")
        if not _only_owner_writes(status):
            raise _UnusableError("others can write to it")
        if status.st_size > LIMIT_ENTRY:
            raise _UnusableError("it is larger than any kernel")
        return file.read(LIMIT_ENTRY)


def _pack(name: str, recipe: Recipe, object_code: bytes) -> bytes:
    body = json.dumps(asdict(recipe)).encode() + b"\n" + object_code
    return FORMAT + _digest(name, body) + body


def _unpack(name: str, content: bytes) -> tuple[Recipe, bytes]:
    """The recipe and object code of an entry; _UnusableError if they are not what was stored."""
    start = len(FORMAT) + hashlib.sha256().digest_size
    body = content[start:]
    if not content.startswith(FORMAT) or content[len(FORMAT) : start] != _digest(name, body):
        raise _UnusableError("it is damaged")
    head, _, object_code = body.partition(b"\n")
    try:
        return decode(Recipe, json.loads(head)), object_code
    except ValueError as error:
        raise _UnusableError(f"it holds no recipe ({error})") from error


def _digest(name: str, body: bytes) -> bytes:
    """The checksum of an entry. The name is in it: a copy under another name is no entry."""
    return hashlib.sha256(name.encode() + b"\n" + body).digest()


def _only_owner_writes(status: os.stat_result) -> bool:
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return mine and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@cache
def _warn_once(text: str) -> None:
    """Log a warning that has not been logged before."""
    log.warning(text)


@cache
def _versions() -> str:
    """What else decides the code: snipjit, down to its files, and LLVM."""
    package = Path(__file__).parents[1]
    files = [(str(path), path.stat()) for path in sorted(package.rglob("*.py"))]
    sources = repr([(name, s.st_size, s.st_mtime_ns) for name, s in files])
    digest = hashlib.sha256(sources.encode()).hexdigest()
    return f"{__version__} {digest} {compiler_version()}"
