"""Reads exported programs (``.pt2``) and saved inputs, and refuses damaged files with a reason.

``torch.export.load`` does not look at the archive's checksums: one flipped byte among the weights
gives other numbers without a word. Here they are checked first (about 1 GB/s).
"""

from __future__ import annotations

import logging
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from snipjit.errors import InputError

# What zipfile raises for damaged bytes: it trusts offsets, names, sizes and flags.
_BAD_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    ValueError,
    RuntimeError,
)
_BAD_PROGRAM = (
    RuntimeError,
    ValueError,  # json.JSONDecodeError and UnicodeDecodeError are ValueErrors
    KeyError,
    TypeError,
    AttributeError,
    AssertionError,
    EOFError,
    pickle.UnpicklingError,
)
_BAD_INPUTS = (RuntimeError, ValueError, KeyError, EOFError)


def load_pt2(path: str | Path) -> torch.export.ExportedProgram:
    """The exported program in a file that ``torch.export.save`` wrote.

    Raises InputError, naming the file and the reason, where there is no such file, where its
    archive is damaged, or where this version of torch cannot read the program in it.
    """
    path = Path(path)
    _check_exists(path)
    names = _check_archive(path, "torch.export.save")
    if not any(name.endswith("/archive_format") for name in names):
        raise InputError(f"{path}: a zip archive, but not one that torch.export.save wrote")
    try:
        with path.open("rb") as file, _quiet("torch.export"):
            return torch.export.load(file)
    except _BAD_PROGRAM as error:
        raise InputError(
            f"{path}: torch {torch.__version__} cannot load the program in it ({_line(error)}); "
            "export it again with this version"
        ) from error


def load_inputs(path: Path) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword inputs that ``torch.save`` wrote: a tensor, a tuple, a list or a dict.

    Raises InputError, naming the file and the reason, for anything else.
    """
    _check_exists(path)
    _check_archive(path, "torch.save")
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors, numbers, strings, tuples, lists and dicts of them"
        ) from error
    except _BAD_INPUTS as error:
        raise InputError(f"{path}: torch.load cannot read it ({_line(error)})") from error
    if isinstance(value, dict):
        return (), value
    if isinstance(value, torch.Tensor):
        return (value,), {}
    if isinstance(value, (tuple, list)):
        return tuple(value), {}
    raise InputError(f"{path}: holds a {type(value).__name__}, not a tuple or a dict of inputs")


def _check_exists(path: Path) -> None:
    """Raise InputError where there is no such file."""
    if not path.is_file():
        raise InputError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")


def _check_archive(path: Path, writer: str) -> list[str]:
    """The names of an archive's records, each checked against its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() or _marked_as_directory(archive)
            names = archive.namelist()
    except _BAD_ARCHIVE as error:
        raise InputError(
            f"{path}: not a file that {writer} wrote, or a damaged one ({_line(error)})"
        ) from error
    if damaged is not None:
        raise InputError(f"{path}: damaged: the record {damaged} is not what was written")
    return names


def _marked_as_directory(archive: zipfile.ZipFile) -> str | None:
    """A record with the directory attribute: torch would read memory that nobody wrote."""
    directories = [info for info in archive.infolist() if info.external_attr & 0x10]
    return directories[0].filename if directories else None


def _line(error: Exception) -> str:
    """The first line of an error, short enough for one line of a message."""
    text = (str(error).splitlines() or [""])[0].strip()
    return f"{type(error).__name__}: {text[:160]}"


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep a logger silent: torch logs the traceback of the error that it also raises."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
