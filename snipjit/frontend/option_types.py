"""What options of the command line may be: functions for argparse that check one word each."""

from __future__ import annotations

import argparse
import importlib
from typing import Any, NoReturn

MAX_THREADS = 1024
"""The most that ``--threads`` takes."""


class Parser(argparse.ArgumentParser):
    """An argument parser that tells an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def positive_int(text: str) -> int:
    """An integer above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def threads(text: str) -> int:
    """A number of threads that a machine may have; beyond it OpenMP ends the process."""
    count = positive_int(text)
    if count > MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MAX_THREADS}")
    return count


def seed(text: str) -> int:
    """An integer that torch takes as a seed."""
    digits = text.removeprefix("-")
    if not digits.isdecimal() or int(digits) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 64 bits")
    return int(text)


def positive_float(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def size(text: str) -> tuple[str, int]:
    """A ``NAME=INT`` pair."""
    name, _, size = text.partition("=")
    if not name or not size.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=INT")
    if int(size) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 64 bits")
    return name, int(size)


LISTS = ("fuse",)
"""Options of compilation that are lists of names."""


def option(text: str) -> tuple[str, Any]:
    """A ``NAME=VALUE`` pair, an option of compilation; of a list the names between commas."""
    name, found, value = text.partition("=")
    if not name or not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    if name in LISTS:
        return name, [one.strip() for one in value.split(",") if one.strip()]
    return name, value


def module(text: str) -> str:
    """The name of a module, which is imported."""
    try:
        importlib.import_module(text)
    except (ImportError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be imported: {error}") from error
    return text
