"""Reads exported programs (``.pt2``) and saved inputs, and refuses damaged files with a reason.

``torch.export.load`` does not look at the archive's checksums: one flipped byte among the weights
gives other numbers without a word. Here they are checked first (about 1 GB/s).
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import pickle
import re
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
REGISTERING = (
    "transformers.modeling_outputs",
    "transformers.cache_utils",
    "diffusers.models.modeling_outputs",
    "diffusers.models.autoencoders.vae",
    "diffusers.models.controlnets.controlnet",
    "diffusers.models.unets.unet_1d",
    "diffusers.models.unets.unet_2d",
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.models.unets.unet_3d_condition",
    "diffusers.models.unets.unet_spatio_temporal_condition",
)
"""Modules that register with torch what models return; a list, since a file must not choose."""

_BAD_INPUTS = (RuntimeError, ValueError, KeyError, EOFError)


def load_pt2(path: str | Path) -> torch.export.ExportedProgram:
    """The exported program in a file that ``torch.export.save`` wrote.

    Types of arguments and results that a library registers with torch are found if their module is
    imported, or is one of ``REGISTERING``. Raises InputError, naming the file and the reason, where
    there is no such file, where its archive is damaged, where a type is not registered, or where
    this version of torch cannot read the program in it.
    """
    path = Path(path)
    _check_exists(path)
    names = _check_archive(path, "torch.export.save")
    if not any(name.endswith("/archive_format") for name in names):
        raise InputError(f"{path}: a zip archive, but not one that torch.export.save wrote")
    try:
        return _load(path)
    except _UnregisteredError as error:
        _import_registering(error.type)
    try:
        return _load(path)
    except _UnregisteredError as error:
        raise InputError(
            f"{path}: the program takes or returns a {error.type}, which its library registers "
            f"with torch: import {error.module} first (snipjit run --import {error.module})"
        ) from error


_UNREGISTERED = r"Deserializing (\w+(?:\.\w+)+) in pytree (?:is not registered|failed because)"
"""What torch says of a type that nobody has registered: to 2.14, and from 2.15 on."""


class _UnregisteredError(Exception):
    """A type that torch does not know how to take apart, since its module is not imported."""

    def __init__(self, type: str) -> None:
        super().__init__(type)
        self.type, self.module = type, type.rpartition(".")[0]


def _load(path: Path) -> torch.export.ExportedProgram:
    try:
        with path.open("rb") as file, _held_back("torch.export") as causes:
            return torch.export.load(file)
    except _BAD_PROGRAM as error:
        cause = causes[-1] if causes else error
        if found := re.search(_UNREGISTERED, str(cause)):
            raise _UnregisteredError(found[1]) from error
        raise InputError(
            f"{path}: torch {torch.__version__} cannot load the program in it ({_line(cause)}); "
            "export it again with this version"
        ) from error


def _import_registering(type: str) -> None:
    """Import the modules in which the library of a type registers what its models return."""
    library = type.partition(".")[0]
    for module in REGISTERING:
        if module.startswith(f"{library}."):
            with contextlib.suppress(ImportError):
                importlib.import_module(module)


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
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
    except OSError as error:  # a name that is too long
        raise InputError(f"{path}: {error.strerror}") from error


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


def _line(error: BaseException) -> str:
    """The first line of an error, short enough for one line of a message."""
    text = (str(error).splitlines() or [""])[0].strip()
    return f"{type(error).__name__}: {text[:160]}"


@contextmanager
def _held_back(name: str) -> Iterator[list[BaseException]]:
    """Keep a logger silent, and what it would have told: torch logs the error behind its own."""
    causes: list[BaseException] = []

    def hold(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            causes.append(record.exc_info[1])
        return False

    logger = logging.getLogger(name)
    logger.addFilter(hold)
    try:
        yield causes
    finally:
        logger.removeFilter(hold)
