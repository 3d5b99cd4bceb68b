"""The output of commands: lines with a title, and what a shell may do to them.

An encoding that lacks a character, a full disk, a reader who has seen enough, an interrupt: none of
them is an error of the program, and none ends in a traceback.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable

from snipjit.errors import SnipjitError

INTERRUPTED = 130
"""The exit status of what a shell's user has interrupted."""


def print_line(title: str, text: str) -> None:
    """Print a line that begins with what it is about."""
    print(f"{title:10}{text}")


def guarded(command: Callable[[], int]) -> int:
    """The exit status of a command whose output may go wrong."""
    if sys.stdout is None:  # closed by the shell
        return _failed("standard output is closed")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        status = command()
        sys.stdout.flush()
        return status
    except SnipjitError as error:
        return _failed(str(error))
    except BrokenPipeError:  # the reader, such as head, has seen enough
        _discard_output()
        return 0
    except KeyboardInterrupt:
        _discard_output()
        print("snipjit: interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if error.filename is not None:
            raise
        _discard_output()
        return _failed(f"cannot write the output: {error.strerror}")


def _failed(message: str) -> int:
    print(f"snipjit: error: {message}", file=sys.stderr)
    return 2


def _discard_output() -> None:
    """Let what is still to be written go nowhere: the interpreter writes it when it ends."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
