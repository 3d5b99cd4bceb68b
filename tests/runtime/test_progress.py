"""A terminal shows how far compilation is; files, pipes and quick work show nothing."""

from __future__ import annotations

import io
import sys

import pytest

from snipjit.runtime import progress


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def told(error: io.StringIO, patience: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """What three items write to standard error."""
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setattr(progress, "PATIENCE", patience)
    assert list(progress.shown([1, 2, 3], "compiling kernel")) == [1, 2, 3]
    return error.getvalue()


def test_a_terminal_shows_a_line_and_erases_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = told(Terminal(), -1, monkeypatch)
    assert "snipjit: compiling kernel 3 of 3" in text
    assert text.endswith("\r\x1b[K")
    assert "\n" not in text


def test_nothing_is_shown_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert told(io.StringIO(), -1, monkeypatch) == ""
    assert told(Terminal(), 60, monkeypatch) == ""
    monkeypatch.setenv("TERM", "dumb")
    assert told(Terminal(), -1, monkeypatch) == ""


def test_no_console_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(progress, "PATIENCE", -1)
    assert list(progress.shown([1], "x")) == [1]


def test_an_error_in_between_erases_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE", -1)
    error = Terminal()
    monkeypatch.setattr(sys, "stderr", error)
    items = progress.shown([1, 2], "x")
    next(items)
    items.close()
    assert error.getvalue().endswith("\r\x1b[K")
